"""What the Legacy API tells of an access token, and how it is voided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.api_client import ApiClient, ApiRequest
from proxy.adapters.dailymotion.api_responses import read_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom an access token stands for, and what it may do."""

    channel_id: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


class AccountApi:
    """Calls about the access token itself."""

    def __init__(self, client: ApiClient, rest_url: str) -> None:
        self._client = client
        self._rest_url = URL(rest_url)

    async def echo(self, message: str) -> str:
        """Return what Dailymotion says back, or refuse."""
        members = await self._client.fetch_object(self._request("echo", message=message))
        return str(members.get("message"))

    async def fetch_identity(self) -> Identity:
        """Return whose token it is, or refuse."""
        members = await self._client.fetch_object(self._request("auth"))
        return Identity(
            channel_id=str(members.get("id") or ""),
            scopes=_texts(members.get("scope")),
            roles=_texts(members.get("roles")),
        )

    async def revoke(self) -> None:
        """Void the token and the login that it came from, or refuse."""
        await self._client.call(self._request("logout"), read_done)

    def _request(self, name: str, **query: str) -> ApiRequest:
        return ApiRequest(operation="account", url=(self._rest_url / name).with_query(query))


def _texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts; scopes may also come as one text with spaces (RFC 6749, 3.3)."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(it) for it in value) if isinstance(value, list) else ()
