"""How commands ask the edge that runs on this machine."""

from __future__ import annotations

from typing import Any

import aiohttp

from proxy.settings import Settings
from proxy.settings.listen import Listen, parse_listen

PATIENCE = aiohttp.ClientTimeout(total=10)  # seconds


class NoEdge(Exception):
    """Nobody answers on the operator port, or nobody of ours."""


async def ask(
    settings: Settings, path: str, *, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON that the operator port answers to GET, or to POST of a body.

    Raises:
        NoEdge: it does not.
    """
    listen = parse_listen(settings.operator.listen)
    try:
        async with (
            connected_to(listen) as session,
            session.request(
                "GET" if body is None else "POST",
                f"http://{host_of(listen)}{path}",
                json=body,
                headers={"Authorization": f"Bearer {settings.operator.key.get_secret_value()}"},
                timeout=PATIENCE,
            ) as answer,
        ):
            told = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise NoEdge from None
    if not isinstance(told, dict):
        raise NoEdge
    return answer.status, told


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
