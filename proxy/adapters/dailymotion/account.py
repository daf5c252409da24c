"""What the Legacy API tells of an access token, and how it is voided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.answers import read_done, read_object
from proxy.adapters.dailymotion.exchange import Answer, Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom an access token stands for, and what it may do."""

    channel_id: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


class AccountApi:
    """Calls about the access token itself."""

    def __init__(self, exchange: Exchange, rest_url: str) -> None:
        self._exchange = exchange
        self._rest_url = URL(rest_url)

    async def echo(self, message: str, access_token: str, *, deadline: float) -> str:
        """Return what Dailymotion says back, or refuse."""
        members = await self._get("echo", access_token, deadline, {"message": message})
        return str(members.get("message"))

    async def fetch_identity(self, access_token: str, *, deadline: float) -> Identity:
        """Return whose token it is, or refuse."""
        members = await self._get("auth", access_token, deadline)
        return Identity(
            channel_id=str(members.get("id") or ""),
            scopes=_texts(members.get("scope")),
            roles=_texts(members.get("roles")),
        )

    async def revoke(self, access_token: str, *, deadline: float) -> None:
        """Void the token and the login that it came from, or refuse."""
        read_done("account", await self._ask("logout", access_token, deadline))

    async def _get(
        self, name: str, access_token: str, deadline: float, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return read_object("account", await self._ask(name, access_token, deadline, query))

    async def _ask(
        self, name: str, access_token: str, deadline: float, query: Mapping[str, str] | None = None
    ) -> Answer:
        return await self._exchange.send(
            "account",
            "GET",
            (self._rest_url / name).with_query(query or {}),
            deadline=deadline,
            headers={"Authorization": f"Bearer {access_token}"},
        )


def _texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts; scopes may also come as one text with spaces (RFC 6749, 3.3)."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(it) for it in value) if isinstance(value, list) else ()
