"""The HTTP session for Dailymotion's API."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from proxy.settings.platform import PlatformConfig

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
MAX_UPSTREAM_CONNECTIONS = 512  # per host; further calls queue until their deadline


@asynccontextmanager
async def open_api_session(platform: PlatformConfig) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the HTTP session for calls to Dailymotion's API."""
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=MAX_UPSTREAM_CONNECTIONS, family=FAMILIES[platform.address_family]
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "playgate"},
    ) as session:
        yield session
