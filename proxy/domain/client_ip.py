"""Determine the viewer's IP address of a request that came through trusted proxies.

Only a forwarding header from a trusted peer counts. The header is read from the right, the end to
which proxies append. The first address that is not a trusted proxy is the viewer's. Everything to
the left of that address was sent by the viewer and may be forged, so it is never parsed.
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

# A longer chain of proxies is a loop or an attack.
MAX_HOPS = 16

# Special-purpose (RFC 6890) and multicast networks by first octet. Most octets have no entry, so
# most lookups end early.
SPECIAL_NETWORKS: dict[int, list[IPv4Network]] = {}
for special in (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16"),
    "198.18.0.0/15",
    *("198.51.100.0/24", "203.0.113.0/24", *(f"{octet}.0.0.0/8" for octet in range(224, 256))),
):
    SPECIAL_NETWORKS.setdefault(int(special.partition(".")[0]), []).append(IPv4Network(special))

# IANA's allocation for global unicast, and the special-purpose networks within it: protocol
# assignments (Teredo, benchmarking, ORCHID) and two documentation networks.
GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the well-known prefix for translated IPv4

MAPPED_BITS = 96  # prefix length of IPv6 networks that embed an IPv4 address in the last 32 bits

NETWORK_BITS = {4: 24, 6: 64}  # by IP version: prefix length of a viewer's network
# Caching pays: the same proxies and viewers send request after request.
MAX_CACHED_ADDRESSES = 10_000
MAX_ADDRESS_LENGTH = 64  # characters, including brackets, zone ID, port and quotes

NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", re.ASCII)  # no zone ID, no netmask

# Some proxies add the port: `192.0.2.1:443`, `[2001:db8::1]:443`.
WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """An address on a request's path, and whether it is a trusted proxy's."""

    address: Address
    is_trusted_proxy: bool


class TrustedProxies:
    """Recognizes the proxies whose forwarding header the edge trusts."""

    def __init__(self, networks: Iterable[Network]) -> None:
        """Trust every address in the networks."""
        self._classify = lru_cache(MAX_CACHED_ADDRESSES)(
            partial(_classify, networks=tuple(networks))
        )

    def read_hop(self, text: str) -> Hop | None:
        """Parse and classify an address from a header or a socket; None if it is not an address."""
        # Long texts are rejected first, so that they never fill the cache.
        return None if len(text) > MAX_ADDRESS_LENGTH else self._classify(text)


def _classify(text: str, networks: Sequence[Network]) -> Hop | None:
    if (literal := parse_literal(text)) is None:
        return None
    # Trust depends on the address before the NAT64 conversion: a client whose NAT64 address embeds
    # a proxy's IPv4 address is not that proxy.
    is_trusted = any(literal in network for network in networks)
    return Hop(address=to_canonical(literal), is_trusted_proxy=is_trusted)


def find_viewer(
    peer: Hop | None, forwarded: Sequence[str], proxies: TrustedProxies
) -> Address | None:
    """Return the viewer's address, or None if the trusted proxies did not forward a valid address.

    Args:
        peer: the other end of the connection; None on a Unix socket, which its file mode protects.
        forwarded: the value of every line of the configured header, in order.
        proxies: the proxies to skip.
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
    """Yield a list header's non-empty elements from last to first (RFC 9110, 5.6.1)."""
    for line in reversed(lines):
        for element in reversed(line.split(",")):
            if stripped := element.strip(" \t"):
                yield stripped


def parse_address(text: str) -> Address | None:
    """Parse an address from a header or a socket into canonical form; None if it is invalid."""
    literal = parse_literal(text)
    return None if literal is None else to_canonical(literal)


def parse_literal(text: str) -> Address | None:
    """Parse an address without converting NAT64 addresses; None if it is not an address.

    IPv4-mapped IPv6 addresses become IPv4.
    """
    if (match := WITH_PORT.fullmatch(text.removeprefix('"').removesuffix('"'))) is not None:
        text = match["v6"] or match["v4"]
    try:
        return IPv4Address(text) if ":" not in text else unmap_ipv4(IPv6Address(text))
    except ValueError:
        return None


def unmap_ipv4(address: IPv6Address) -> Address:
    """Convert an IPv4-mapped address to IPv4, and drop the zone ID of any other IPv6 address.

    Dual-stack sockets report IPv4 peers as IPv4-mapped addresses.
    """
    return address.ipv4_mapped or IPv6Address(int(address))


def to_canonical(address: Address) -> Address:
    """Convert an address to canonical form, so that addresses can be compared.

    IPv4-mapped and NAT64 addresses become the IPv4 address that they embed. The zone ID is
    dropped: it identifies a network interface of this machine, not the viewer.
    """
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return unmap_ipv4(address)


def parse_network(text: str) -> Network:
    """Parse a network of viewers into canonical form; a single address is a network of size 1.

    Raises:
        ValueError: the text is neither an address nor a network.
    """
    return _extract_ipv4(_parse_prefix(text), to_canonical)


def parse_trusted_network(text: str) -> Network:
    """Parse a network of proxies; a network of NAT64 addresses does not become an IPv4 network.

    Raises:
        ValueError: the text is neither an address nor a network.
    """
    return _extract_ipv4(_parse_prefix(text), lambda address: unmap_ipv4(IPv6Address(int(address))))


def _parse_prefix(text: str) -> Network:
    """Parse a network without a netmask: 9.9.9.9/0.0.0.0 would contain every address."""
    if NETWORK.fullmatch(text) is None:
        raise ValueError("not an address or a network with a prefix length")
    return ip_network(text, strict=False)


def _extract_ipv4(network: Network, convert: Callable[[IPv6Address], Address]) -> Network:
    """Return the IPv4 network that an IPv6 network embeds; any other network stays unchanged."""
    if isinstance(network, IPv4Network) or network.prefixlen < MAPPED_BITS:
        return network
    embedded = convert(network.network_address)
    if isinstance(embedded, IPv6Address):
        return network
    return IPv4Network((embedded, network.prefixlen - MAPPED_BITS))


def check_viewer(
    address: Address | None, private: PrivateViewers, *, loopback_viewers: bool
) -> Address:
    """Return the viewer's address if the setting `viewer.private` allows it.

    Args:
        address: the viewer's address; None if no proxy forwarded an address.
        private: the setting.
        loopback_viewers: whether "pass" also allows loopback addresses, for the sandbox.

    Raises:
        Refusal: `viewer-private`.
    """
    if address is None:
        raise Refusal(Reason.VIEWER_PRIVATE, "the proxy did not forward the viewer's address")
    if is_public(address) or private == "omit":
        return address
    if private == "pass" and (loopback_viewers or not address.is_loopback):
        return address
    kind = "loopback" if address.is_loopback else "private"
    raise Refusal(Reason.VIEWER_PRIVATE, f"viewer.private = {private!r} refuses {kind} addresses")


def is_public(address: Address) -> bool:
    """Check whether Dailymotion's CDN can see the address as a viewer's address.

    The standard library's `is_global` is not enough: it accepts addresses that embed another
    address, and addresses that are not allocated.
    """
    if isinstance(address, IPv4Address):
        special = SPECIAL_NETWORKS.get(int(address) >> 24)
        return special is None or not any(address in network for network in special)
    if address.sixtofour is not None:
        return is_public(address.sixtofour)
    return address in GLOBAL_UNICAST and not any(address in network for network in SPECIAL_IPV6)


def select_client_ip(address: Address, private: PrivateViewers) -> Address | None:
    """Return the address to lock the stream to; None (no lock) if it is private and omitted."""
    return None if private == "omit" and not is_public(address) else address


def parse_trusted_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse a list of networks of trusted proxies, in order."""
    return tuple(parse_trusted_network(text) for text in texts)


def get_viewer_network(viewer: Address) -> Network:
    """Return the network that a viewer's session is bound to: /24 for IPv4, /64 for IPv6."""
    return ip_network((viewer, NETWORK_BITS[viewer.version]), strict=False)


@lru_cache(MAX_CACHED_ADDRESSES)
def format_viewer_network(viewer: Address) -> str:
    """Return the network that a viewer's session is bound to, as text."""
    return str(get_viewer_network(viewer))
