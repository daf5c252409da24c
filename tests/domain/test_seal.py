"""Tests of seals: deterministic, unforgeable, and bound to a session and a purpose."""

from base64 import urlsafe_b64encode
from ipaddress import ip_address, ip_network

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.client_ip import format_viewer_network, get_viewer_network
from proxy.domain.reasons import Refusal
from proxy.domain.seal import PURPOSE, SealKeys, Session, digest_child
from proxy.domain.variant_limits import VariantLimits

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = SealKeys([NEW, OLD])
SESSION = Session(
    video="x8abcd", network=ip_network("203.0.113.0/24"), started_at=1_800_000_000,
    jti="1b4e28ba-2fa1-11d2-883f-0016d3cca427", subject="viewer-7", issued_at=1_799_999_990,
    limits=VariantLimits(max_height=360),
)  # fmt: skip


def catch_reason(call) -> str:
    try:
        call()
    except Refusal as refusal:
        return str(refusal.reason)
    return "opened"


def test_a_seal_contains_its_session_and_content():
    opened = KEYS.open(KEYS.newest.seal("playlist", SESSION, ["u", {"a": "b"}]))

    assert (opened.kind, opened.session, opened.content) == ("playlist", SESSION, ["u", {"a": "b"}])


def test_the_same_content_has_the_same_seal():
    """Players lose their position if URIs change."""
    other = SealKeys([NEW]).newest
    assert other.seal("file", SESSION, "u") == KEYS.newest.seal("file", SESSION, "u")
    assert other.hide("seal", "u") == KEYS.newest.hide("seal", "u")
    assert other.compute_macs("a/", [b"x" * 16]) == KEYS.newest.compute_macs("a/", [b"x" * 16])


def test_a_removed_key_opens_nothing():
    seal = SealKeys([OLD]).newest.seal("file", SESSION, "u")

    assert KEYS.open(seal).key.seal("file", SESSION, "u") == seal
    assert catch_reason(lambda: SealKeys([NEW]).open(seal)) == "seal-invalid"


def test_a_change_of_any_character_makes_a_seal_invalid():
    seal = KEYS.newest.seal("playlist", SESSION, ["https://a/b", {}])
    for at in range(len(seal)):
        for char in "Ab-":
            if seal[at] != char:
                changed = seal[:at] + char + seal[at + 1 :]
                assert catch_reason(lambda changed=changed: KEYS.open(changed)) == "seal-invalid"
    for added in ("A", "=", "==", "A" * 7000):
        assert catch_reason(lambda added=added: KEYS.open(seal + added)) == "seal-invalid"


def test_a_seal_that_is_too_long_is_refused():
    assert catch_reason(lambda: KEYS.newest.seal("file", SESSION, "a" * 5000)) == "playlist-invalid"


def test_hidden_content_opens_only_beside_its_seal():
    hidden = KEYS.newest.hide("seal", ["a", "b"])

    assert KEYS.newest.reveal("seal", hidden) == ["a", "b"]
    assert KEYS.newest.reveal("other", hidden) is None
    assert KEYS.newest.reveal("seal", hidden[:-1]) is None
    assert KEYS.newest.reveal("seal", hidden + "=") is None
    assert KEYS.newest.reveal("seal", KEYS.newest.seal("file", SESSION, "u")) is None
    assert SealKeys([OLD]).newest.reveal("seal", hidden) is None


@given(st.lists(st.text(max_size=20), max_size=10))
def test_macs_depend_on_the_folder_and_the_text_only(texts):
    digests = [digest_child(text) for text in texts]
    macs = KEYS.newest.compute_macs("seal/", digests)

    assert macs == [KEYS.newest.compute_macs("seal/", [digest])[0] for digest in digests]
    assert all(len(mac) == 6 for mac in macs)
    assert len(set(macs)) == len(set(texts))
    assert set(macs).isdisjoint(KEYS.newest.compute_macs("seal/~x/", digests))


def test_a_session_is_valid_only_in_its_network_and_time():
    def check(viewer: str, now: float) -> str:
        return catch_reason(
            lambda: SESSION.check(ip_address(viewer), now=now, max_duration=60, leeway=5)
        )

    assert check("203.0.113.255", 1_800_000_059) == "opened"
    assert check("203.0.114.0", 1_800_000_059) == "seal-network"
    assert check("2001:db8::1", 1_800_000_059) == "seal-network"
    assert check("203.0.113.255", 1_800_000_060) == "seal-expired"
    # The edge that sealed may have a clock that is ahead.
    assert check("203.0.113.255", 1_799_999_995) == "opened"
    assert check("203.0.113.255", 1_799_999_994) == "seal-invalid"


def test_a_session_is_bound_to_the_viewers_network():
    assert str(get_viewer_network(ip_address("203.0.113.77"))) == "203.0.113.0/24"
    assert str(get_viewer_network(ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"


@given(st.ip_addresses())
def test_the_network_text_is_canonical(address):
    assert format_viewer_network(address) == str(get_viewer_network(address))


def test_without_keys_no_seal_opens():
    assert SealKeys([]).newest is None
    assert catch_reason(lambda: SealKeys([]).open("A" * 64)) == "seal-invalid"
    assert catch_reason(lambda: KEYS.open("é" * 64)) == "seal-invalid"


def test_a_seal_with_another_purpose_does_not_open():
    key = KEYS.newest
    sealed = key._aead.encrypt(msgpack.packb([0]), [PURPOSE + b"!"])  # noqa: SLF001  # the attack itself

    assert key.open(urlsafe_b64encode(sealed).rstrip(b"=").decode()) is None
