"""Tests of the viewer's address: forged forwarding headers, and the forms of addresses."""

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.domain import client_ip
from proxy.domain.client_ip import (
    MAX_CACHED_ADDRESSES,
    MAX_HOPS,
    TrustedProxies,
    check_viewer,
    find_viewer,
    is_public,
    parse_address,
    parse_literal,
    parse_network,
    parse_trusted_network,
    parse_trusted_networks,
    select_client_ip,
)
from proxy.domain.reasons import Refusal

PROXIES = TrustedProxies(parse_trusted_networks(["10.0.0.0/8", "2001:db8:ffff::/48"]))
VIEWER = ip_address("8.8.4.4")


def viewer(*lines: str, peer: str | None = "10.0.0.1") -> str | None:
    found = find_viewer(None if peer is None else PROXIES.read_hop(peer), lines, PROXIES)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["8.8.4.4"], "8.8.4.4"),
        (["1.1.1.1, 8.8.4.4"], "8.8.4.4"),  # the viewer forged the left element
        (["1.1.1.1", "8.8.4.4"], "8.8.4.4"),  # repeated lines form a single list
        (["8.8.4.4", "10.0.0.7"], "8.8.4.4"),
        (["1.1.1.1, 8.8.4.4, 10.0.0.7, 10.9.9.9"], "8.8.4.4"),
        (["8.8.4.4:4711"], "8.8.4.4"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (['"8.8.4.4"'], "8.8.4.4"),
        (['"[2001:db8::1]:443"'], "2001:db8::1"),
        (["::ffff:8.8.4.4"], "8.8.4.4"),
        (["64:ff9b::808:404"], "8.8.4.4"),
        (["2001:db8::1%eth0"], "2001:db8::1"),
        (["8.8.4.4, , ,"], "8.8.4.4"),
        ([" \t8.8.4.4\t "], "8.8.4.4"),
        (["", "8.8.4.4", ""], "8.8.4.4"),
        (
            ["junk, <script>, 8.8.4.4, 10.0.0.3"],
            "8.8.4.4",
        ),  # elements to the left of the viewer are never read
        (["8.8.4.4, unknown"], None),
        (["8.8.4.4, _hidden"], None),
        (["8.8.4.4, 010.0.0.2"], None),  # leading zeros: octal to some, decimal to others
        (["8.8.4.4, 10.0.0.999"], None),
        (["8.8.4.4, 0x0a000001"], None),
        (["8.8.4.4, 167772161"], None),
        (["8.8.4.4, [10.0.0.2"], None),
        (["8.8.4.4, 10.0.0.2:port"], None),
        (["8.8.4.4, 10.0.0.2:123456"], None),
        (["10.0.0.5"], "10.0.0.5"),  # an internal viewer: the farthest trusted proxy
        (["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
    ],
)
def test_a_trusted_proxys_header_is_read_from_the_right(lines, expected):
    assert viewer(*lines) == expected


@pytest.mark.parametrize("lines", [["1.1.1.1"], ["1.1.1.1, 10.0.0.1"], ["junk"], []])
def test_an_untrusted_peer_is_the_viewer_regardless_of_its_header(lines):
    assert viewer(*lines, peer="8.8.4.4") == "8.8.4.4"


def test_the_peer_of_a_unix_socket_is_trusted_and_never_the_viewer():
    assert viewer("8.8.4.4", peer=None) == "8.8.4.4"
    assert viewer(peer=None) is None


def test_more_hops_than_the_maximum_give_no_viewer():
    proxies = ["10.0.0.2"] * (MAX_HOPS - 1)

    assert viewer(", ".join(["8.8.4.4", *proxies])) == "8.8.4.4"
    assert viewer(", ".join(["8.8.4.4", *proxies, "10.0.0.2"])) is None


@given(st.lists(st.text(max_size=60), max_size=4), st.sampled_from(["8.8.4.4", "2001:4860::1"]))
def test_a_forged_header_does_not_change_the_viewer(lines, address):
    assert viewer(*lines, address) == address


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_is_parsed_in_every_form_that_proxies_write(address, port):
    canonical = parse_address(str(address))
    bracketed = f"[{address}]" if address.version == 6 else str(address)

    for form in (bracketed, f"{bracketed}:{port}", f'"{bracketed}:{port}"'):
        assert parse_address(form) == canonical


@given(st.text(max_size=80))
def test_no_text_makes_the_address_parser_raise(text):
    parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("2001:db8::5/64", "2001:db8::/64"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("64:ff9b::203.0.113.7", "203.0.113.7/32"),
        ("::ffff:0:0/90", "::ffff:0:0/90"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1/128"),
    ],
)
def test_networks_are_canonical(text, expected):
    assert parse_network(text) == ip_network(expected, strict=False)


@pytest.mark.parametrize(
    "text",
    ["", "fe80::1%eth0/64", "10.0.0.0/33", "10.0.0", "010.0.0.0/8", "x",
     "9.9.9.9/0.0.0.0", "9.9.9.9/255.255.255.0", "9.9.9.9/0.0.0.255", "9.9.9.9/", "9.9.9.9/-1",
     "2001:db8::/ffff::", "10.0.0.0/8 ", "10.0.0.0/+8", "10.0.0.0/\u0668"],
)  # fmt: skip
def test_an_invalid_network_is_refused(text):
    """A netmask of zeros would contain every address, which is hardly intended."""
    for parse in (parse_network, parse_trusted_network):
        with pytest.raises(ValueError):  # noqa: PT011  # the message is ipaddress's own
            parse(text)


@pytest.mark.parametrize(
    ("peer", "trusted", "is_trusted"),
    [
        ("64:ff9b::10.0.0.1", "10.0.0.0/8", False),
        ("::ffff:10.0.0.1", "10.0.0.0/8", True),
        ("64:ff9b::10.0.0.1", "64:ff9b::/96", True),
        ("10.0.0.1", "64:ff9b::/96", False),
        ("10.0.0.1", "64:ff9b::10.0.0.0/104", False),
        ("10.0.0.1", "::ffff:10.0.0.0/104", True),
        ("64:ff9b::10.0.0.1", "::/0", True),
        ("64:ff9b:1::10.0.0.1", "10.0.0.0/8", False),
        ("2002:a00:1::", "10.0.0.0/8", False),
        ("::10.0.0.1", "10.0.0.0/8", False),
    ],
)
def test_trust_is_decided_on_the_literal_address(peer, trusted, is_trusted):
    """A NAT64 address embeds an IPv4 address that an attacker can choose."""
    hop = TrustedProxies(parse_trusted_networks([trusted])).read_hop(peer)
    assert hop is not None
    assert hop.is_trusted_proxy is is_trusted
    viewer = find_viewer(hop, ["8.8.4.4"], TrustedProxies(parse_trusted_networks([trusted])))
    assert viewer == (ip_address("8.8.4.4") if is_trusted else hop.address)


PRIVATE = ["10.1.2.3", "192.168.0.1", "127.0.0.1", "::1", "fc00::1", "fe80::1", "100.64.0.1",
           "169.254.0.1", "224.0.0.1", "ff0e::1", "0.0.0.0", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "::8.8.8.8", "64:ff9b:1::808:808",
           "fec0::1", "feff::1", "::ffff:0:8.8.8.8", "3fff::1", "3fff:fff::1", "5f00::1", "2001::1", "2001:2::1", "2001:10::1", "2001:1ff::1",
           "2001:db8::1", "100::1", "4000::1", "8000::1", "fe00::1", "1fff::1", "64:ff9c::1", "::2:0:0"]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_viewer_is_refused_by_default(text):
    with pytest.raises(Refusal) as refused:
        check_viewer(ip_address(text), "refuse", loopback_viewers=True)

    assert refused.value.reason == "viewer-private"
    assert "viewer.trusted_proxies" in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "8.8.4.4",
        "2a01:e0a::1",
        "2002:808:404::1",
        "2001:200::1",
        "2001:4860::1",
        "2003::1",
        "3ffe::1",
        "3fff:1000::1",
    ],
)
def test_a_public_viewer_may_play_under_any_setting(text):
    for private in ("refuse", "pass", "omit"):
        assert check_viewer(ip_address(text), private, loopback_viewers=False) == ip_address(text)


def test_a_request_without_a_forwarded_viewer_is_refused_under_any_setting():
    for private in ("refuse", "pass", "omit"):
        with pytest.raises(Refusal, match="viewer-private"):
            check_viewer(None, private, loopback_viewers=True)


def test_pass_allows_private_viewers_but_loopback_only_in_the_sandbox():
    private, loopback = ip_address("10.1.2.3"), ip_address("127.0.0.1")

    assert check_viewer(private, "pass", loopback_viewers=False) == private
    assert check_viewer(loopback, "pass", loopback_viewers=True) == loopback
    with pytest.raises(Refusal, match="viewer-private"):
        check_viewer(loopback, "pass", loopback_viewers=False)


def test_omit_locks_streams_to_public_addresses_only():
    private = ip_address("10.1.2.3")

    assert check_viewer(private, "omit", loopback_viewers=False) == private
    assert select_client_ip(private, "omit") is None
    assert select_client_ip(VIEWER, "omit") == VIEWER
    assert select_client_ip(private, "pass") == private


@given(st.ip_addresses(v=4))
@example(IPv4Address("100.64.0.1"))
@example(IPv4Address("198.51.100.1"))
@example(IPv4Address("240.0.0.1"))
@example(IPv4Address("192.0.1.0"))
def test_public_ipv4_addresses_match_the_standard_library(address):
    """An exception is 192.0.0.0/24: the library, like the registry, accepts some of its addresses."""
    is_public_in_library = address.is_global and not address.is_multicast

    assert is_public(address) == (
        is_public_in_library and address not in IPv4Network("192.0.0.0/24")
    )


def test_the_address_cache_is_bounded(monkeypatch):
    proxies, read = TrustedProxies(parse_trusted_networks(["10.0.0.0/8"])), []
    monkeypatch.setattr(
        client_ip, "parse_literal", lambda text: read.append(text) or parse_literal(text)
    )

    assert proxies.read_hop("8.8.4.4" + " " * 1000) is None
    assert read == []
    for _ in range(2):
        proxies.read_hop("8.8.4.4")
    assert read == ["8.8.4.4"]
    for n in range(MAX_CACHED_ADDRESSES):
        proxies.read_hop(f"8.9.{n // 250}.{n % 250}")
    proxies.read_hop("8.8.4.4")
    assert read.count("8.8.4.4") == 2
