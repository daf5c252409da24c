"""Dailymotion's Legacy API (v0) with a private key: two calls, nothing remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from proxy.adapters.dailymotion.answers import AccessToken, read_access_token, read_stream_url
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.domain.client_ip import Address
from proxy.domain.video import VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A private API key and what it asks for."""

    api_key: str
    api_secret: str
    scope: str


class LegacyApi:
    """Asks for access tokens and for stream URLs."""

    def __init__(
        self,
        exchange: Exchange,
        account: Account,
        *,
        token_url: str,
        rest_url: str,
        stream_fields: Sequence[str],
        state_fields: Sequence[str],
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._token_url = URL(token_url)
        self._rest_url = URL(rest_url)
        self._stream_fields = tuple(stream_fields)
        self._fields = ",".join([*stream_fields, *state_fields])

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Return a new access token (RFC 6749, 4.4: client credentials), or refuse."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._account.api_key,
            "client_secret": self._account.api_secret,
            "scope": self._account.scope,
        }
        answer = await self._exchange.send(
            "token", "POST", self._token_url, deadline=deadline, data=form
        )
        return read_access_token(answer)

    async def fetch_stream_url(
        self, video: VideoId, client_ip: Address | None, access_token: str, *, deadline: float
    ) -> str:
        """Return the video's stream URL, locked to `client_ip` (None: to our own), or refuse.

        Raises:
            AccessTokenRefused: the access token did not do.
            Refusal: any other reason.
        """
        query = {"fields": self._fields}
        if client_ip is not None:
            query["client_ip"] = str(client_ip)
        answer = await self._exchange.send(
            "video",
            "GET",
            (self._rest_url / "video" / video).with_query(query),
            deadline=deadline,
            headers={"Authorization": f"Bearer {access_token}"},
        )
        return read_stream_url(answer, self._stream_fields)
