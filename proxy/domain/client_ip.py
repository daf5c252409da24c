"""Whose address a request comes from, when proxies of ours stand in between.

Only a trusted peer's forwarding header counts. It is walked from the right, where our own proxies
wrote, and the first address that is not ours is the viewer. What stands further left was sent by
the viewer, may be forged, and is never parsed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

from proxy.domain.reasons import Reason, Refusal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PrivateViewers = Literal["refuse", "pass", "omit"]

# A chain longer than this is a loop or an attack, not a set of proxies.
MAX_HOPS = 16

# Addresses of special purpose (RFC 6890) and multicast, by their first octet: most have none.
SPECIAL_NETWORKS: dict[int, list[IPv4Network]] = {}
for special in (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16"),
    "198.18.0.0/15",
    *("198.51.100.0/24", "203.0.113.0/24", *(f"{octet}.0.0.0/8" for octet in range(224, 256))),
):
    SPECIAL_NETWORKS.setdefault(int(special.partition(".")[0]), []).append(IPv4Network(special))

# What IANA has allocated for global unicast, and its special-purpose registry within that:
# protocol assignments (Teredo, benchmarking, ORCHID), and documentation, twice.
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the well-known prefix for translated IPv4

MAPPED_BITS = 96  # the length of the prefixes that carry an IPv4 address in their last 32 bits

NETWORK_BITS = {4: 24, 6: 64}
MAX_CACHED_ADDRESSES = (
    10_000  # addresses: our proxies, and viewers, who ask for one segment after the other
)
MAX_ADDRESS_LENGTH = 64  # characters of an address, with brackets, zone id, port and quotes

NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", re.ASCII)  # no zone id, no netmask

# `192.0.2.1:443` and `[2001:db8::1]:443`: some proxies write the port, which is nobody's address.
WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One of those that a request came through, and whether it is a proxy of ours."""

    address: Address
    is_trusted_proxy: bool


class TrustedProxies:
    """The peers whose forwarding header is believed."""

    def __init__(self, networks: Iterable[Network]) -> None:
        """Trust what is in any of the networks."""
        self._recognized = lru_cache(MAX_CACHED_ADDRESSES)(
            partial(_recognize, networks=tuple(networks))
        )

    def read_hop(self, text: str) -> Hop | None:
        """Return what an address that a proxy or a socket wrote is to us; None if it is none."""
        return (
            None if len(text) > MAX_ADDRESS_LENGTH else self._recognized(text)
        )  # no long one is remembered


def _recognize(text: str, networks: Sequence[Network]) -> Hop | None:
    if (literal := parse_literal(text)) is None:
        return None
    # Trust is decided on the address as it stands: a client behind NAT64 is not the proxy whose
    # IPv4 address its own address carries.
    is_ours = any(literal in network for network in networks)
    return Hop(address=to_canonical(literal), is_trusted_proxy=is_ours)


def find_viewer(
    peer: Hop | None, forwarded: Sequence[str], proxies: TrustedProxies
) -> Address | None:
    """Return the viewer's address, or None where our own proxy did not say it.

    `peer` opened the connection, and is None on a Unix socket, which its file mode guards;
    `forwarded` has the values of every line of the configured header, in order.
    """
    if peer is not None and not peer.is_trusted_proxy:
        return peer.address
    nearest = peer
    for hops, element in enumerate(iterate_from_right(forwarded)):
        hop = proxies.read_hop(element)
        if hop is None or hops == MAX_HOPS:
            return None
        if not hop.is_trusted_proxy:
            return hop.address
        nearest = hop
    return None if nearest is None else nearest.address


def iterate_from_right(lines: Sequence[str]) -> Iterator[str]:
    """Yield the elements of a list header, last first; empty ones do not count (RFC 9110 5.6.1)."""
    for line in reversed(lines):
        for element in reversed(line.split(",")):
            if stripped := element.strip(" \t"):
                yield stripped


def parse_address(text: str) -> Address | None:
    """Return the address that a proxy or a socket wrote, in its one form; None if it is none."""
    literal = parse_literal(text)
    return None if literal is None else to_canonical(literal)


def parse_literal(text: str) -> Address | None:
    """Return an address as it stands, an IPv4-mapped one as IPv4; None if it is none."""
    if (match := WITH_PORT.fullmatch(text.removeprefix('"').removesuffix('"'))) is not None:
        text = match["v6"] or match["v4"]
    try:
        return IPv4Address(text) if ":" not in text else unmap_ipv4(IPv6Address(text))
    except ValueError:
        return None


def unmap_ipv4(address: IPv6Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped one, as sockets show them; without a zone id."""
    return address.ipv4_mapped or IPv6Address(int(address))


def to_canonical(address: Address) -> Address:
    """Return the one form of an address, so that comparing two of them means something.

    IPv4-mapped and NAT64 addresses are the IPv4 address that they carry; a zone id says which of
    our interfaces a packet came in on, and nothing about the viewer.
    """
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return unmap_ipv4(address)


def parse_network(text: str) -> Network:
    """Return a network of viewers in canonical form; an address alone is a network of one.

    Raises:
        ValueError: it is neither.
    """
    return _parse_nat64(_parse_prefix(text), to_canonical)


def parse_trusted_network(text: str) -> Network:
    """Return a network of proxies as it stands: one of NAT64 addresses is no IPv4 network.

    Raises:
        ValueError: it is neither an address nor a network.
    """
    return _parse_nat64(_parse_prefix(text), lambda address: unmap_ipv4(IPv6Address(int(address))))


def _parse_prefix(text: str) -> Network:
    """Return a network by its prefix length: as a netmask, 9.9.9.9/0.0.0.0 would be everybody."""
    if NETWORK.fullmatch(text) is None:
        raise ValueError("not an address or a network with a prefix length")
    return ip_network(text, strict=False)


def _parse_nat64(network: Network, read: Callable[[IPv6Address], Address]) -> Network:
    if isinstance(network, IPv4Network) or network.prefixlen < MAPPED_BITS:
        return network
    carried = read(network.network_address)
    if isinstance(carried, IPv6Address):
        return network
    return IPv4Network((carried, network.prefixlen - MAPPED_BITS))


def check_viewer(
    address: Address | None, private: PrivateViewers, *, loopback_viewers: bool
) -> Address:
    """Return the viewer's address if it may play under `viewer.private`, or refuse.

    It is None where no proxy named one. That loopback may pass as it stands is the sandbox's
    privilege.
    """
    if address is None:
        raise Refusal(Reason.VIEWER_PRIVATE, "the proxy in front did not name the viewer")
    if is_public(address) or private == "omit":
        return address
    if private == "pass" and (loopback_viewers or not address.is_loopback):
        return address
    raise Refusal(Reason.VIEWER_PRIVATE, f"viewer.private is {private!r}")


def is_public(address: Address) -> bool:
    """Say whether the address can be a viewer's as Dailymotion's CDN sees it.

    `is_global` alone passes addresses that only carry another one inside, and all that is not
    allocated.
    """
    if isinstance(address, IPv4Address):
        special = SPECIAL_NETWORKS.get(int(address) >> 24)
        return special is None or not any(address in network for network in special)
    if address.sixtofour is not None:
        return is_public(address.sixtofour)
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6)


def select_client_ip(address: Address, private: PrivateViewers) -> Address | None:
    """Return the address to lock the stream to; None asks for no lock on an address of ours."""
    return None if private == "omit" and not is_public(address) else address


def parse_trusted_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return every network of a list of trusted proxies, in order."""
    return tuple(parse_trusted_network(text) for text in texts)


def get_viewer_network(viewer: Address) -> Network:
    """Return the network that a viewer's session is bound to: /24, or /64."""
    return ip_network((viewer, NETWORK_BITS[viewer.version]), strict=False)


def format_viewer_network(viewer: Address) -> str:
    """Return the same as a text."""
    return str(get_viewer_network(viewer))
