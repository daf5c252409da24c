"""How commands reach the operator port of an edge on this machine."""

from __future__ import annotations

import aiohttp

from proxy.settings.listen import Listen

PATIENCE = aiohttp.ClientTimeout(total=10)  # seconds


def connected_to(listen: Listen) -> aiohttp.ClientSession:
    """Return a session to an address of ours, a Unix socket's too."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(listen.path) if listen.path else None
    )


def host_of(listen: Listen) -> str:
    """Return the host and port of a listener as a URL has it."""
    if listen.path:
        return "localhost"
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(listen.host)  # as it is reached here
    return f"{everywhere}:{listen.port}" if everywhere else str(listen)
