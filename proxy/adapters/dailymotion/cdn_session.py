"""The HTTP session for the CDN; its connections never lead to a private address."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from proxy.adapters.errors import PrivateAddressError
from proxy.domain.client_ip import is_public, parse_address

READ_BUFFER_BYTES = 32 * 1024  # buffered of a body, in addition to the last received chunk
MAX_CONNECTIONS = 1024  # per host; further requests wait, and their timeouts keep running
# Request no compression: a limit on compressed bytes would not limit the decompressed size.
REQUEST_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "playgate"}


@asynccontextmanager
async def open_cdn_session(
    family: socket.AddressFamily, *, private_addresses: bool
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open an HTTP session for one address family.

    Connections to private addresses fail, because an attacker can make the DNS name of an allowed
    host point into the private network. Only the sandbox sets `private_addresses` to allow them.
    """

    def create_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        address = parse_address(str(info[4][0]))
        if not private_addresses and (address is None or not is_public(address)):
            raise PrivateAddressError
        return socket.socket(info[0], info[1], info[2])

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=MAX_CONNECTIONS, family=family, socket_factory=create_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=REQUEST_HEADERS,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
    ) as session:
        yield session
