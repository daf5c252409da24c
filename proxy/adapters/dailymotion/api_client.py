"""Calls to Dailymotion's API with an account's access token."""

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
    """Provides access tokens: the edge caches them, a command fetches one."""

    async def get_token(self) -> str:
        """Return a token that should be valid. Raises Refusal if there is none."""

    async def replace_token(self, refused: str, refusal: Refusal) -> str:
        """Return another token than the refused one. Raises `refusal` if there is no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to the API; `ApiClient` adds the access token."""

    operation: Operation = "video"
    method: str = "GET"
    url: URL
    options: Mapping[str, Any] = field(default_factory=dict)  # for aiohttp's `request`


class ApiClient:
    """Authenticated API calls with a deadline; replaces a refused access token once per call."""

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
        """Return the JSON object of a response.

        Raises:
            Refusal: if the call fails or exceeds the timeout.
        """
        return await self.call(request, read_object)

    async def call(self, request: ApiRequest, read: Callable[[Operation, HttpResponse], T]) -> T:
        """Send a request and return what `read` extracts from the response.

        Raises:
            Refusal: if the call fails or exceeds the timeout.
        """
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
            detail = f"{request.operation}: no result within {self._timeout:g} s"
            timeout = Refusal(Reason.PLATFORM_TIMEOUT, detail)
            self._health.record_refusal(request.operation, timeout)
            raise timeout from None

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
