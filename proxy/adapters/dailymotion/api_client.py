"""Calls to Dailymotion's API in an account's name."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from yarl import URL

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.api_responses import AccessTokenRefused, read_object, to_refusal
from proxy.adapters.errors import UpstreamError
from proxy.adapters.http_client import HttpClient, HttpResponse, Operation
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason, Refusal

T = TypeVar("T")


class TokenSource(Protocol):
    """Where access tokens come from: kept by the edge, or fetched once by a command."""

    async def get_token(self) -> str:
        """Return a token that should do, or refuse."""

    async def replace_token(self, refused: str, refusal: Refusal) -> str:
        """Return another token than the refused one, or raise `refusal` if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request to the API, without its access token."""

    operation: Operation = "video"
    method: str = "GET"
    url: URL
    options: Mapping[str, Any] = field(default_factory=dict)  # of aiohttp's `request`


class ApiClient:
    """Authorized calls with a deadline; the access token is replaced once if it is refused."""

    def __init__(
        self,
        http: HttpClient,
        tokens: TokenSource,
        limit: ConcurrencyLimit,
        telemetry: Telemetry,
        *,
        timeout: float,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._limit = limit
        self._clock = telemetry.clock
        self._health = telemetry.health
        self._timeout = timeout

    async def fetch_object(self, request: ApiRequest) -> dict[str, Any]:
        """Return the JSON object of a response, or refuse within the time."""
        return await self.call(request, read_object)

    async def call(self, request: ApiRequest, read: Callable[[Operation, HttpResponse], T]) -> T:
        """Return what `read` makes of a response, or refuse within the time."""
        deadline = self._clock.monotonic() + self._timeout
        try:
            async with asyncio.timeout(self._timeout), self._limit:
                token = await self._tokens.get_token()
                try:
                    return await self._attempt(request, read, token, deadline)
                except AccessTokenRefused as refusal:
                    token = await self._tokens.replace_token(token, refusal)
                return await self._attempt(request, read, token, deadline)
        except TimeoutError:
            late = Refusal(Reason.PLATFORM_TIMEOUT, f"{request.operation}: out of time")
            self._health.record_refusal(request.operation, late)
            raise late from None

    async def _attempt(
        self,
        request: ApiRequest,
        read: Callable[[Operation, HttpResponse], T],
        token: str,
        deadline: float,
    ) -> T:
        try:
            result = read(request.operation, await self._send(request, token, deadline))
        except Refusal as refusal:
            self._health.record_refusal(request.operation, refusal)
            raise
        self._health.record_success(request.operation)
        return result

    async def _send(self, request: ApiRequest, token: str, deadline: float) -> HttpResponse:
        try:
            return await self._http.send(
                request.operation,
                request.method,
                request.url,
                deadline=deadline,
                headers={"Authorization": f"Bearer {token}"},
                **request.options,
            )
        except UpstreamError as error:
            raise to_refusal(error) from None
