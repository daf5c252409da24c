"""Exchanges single-use grants: authorization codes and refresh tokens.

The response to a single-use grant holds the only valid refresh token. A request that has been sent
therefore always runs to completion, even if its caller is cancelled.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.refresh_token_file import LockedRefreshToken, RefreshTokenFile
from proxy.adapters.dailymotion.token_endpoint import (
    AccessToken,
    TokenEndpoint,
    read_refresh_token,
)

T = TypeVar("T")

TOKEN_TIMEOUT_SECONDS = 30.0
UNINTERRUPTIBLE = "uninterruptible"  # the name of tasks that must run to completion


class RefreshTokenGrant:
    """Fetches access tokens with the refresh token that `playgate login` stored in a file.

    Dailymotion may replace the refresh token at every use. A refresh that has begun continues even
    if its callers are cancelled.
    """

    def __init__(self, endpoint: TokenEndpoint, file: RefreshTokenFile, clock: Clock) -> None:
        self._endpoint = endpoint
        self._file = file
        self._clock = clock
        self._refreshing: asyncio.Task[AccessToken] | None = None

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:  # noqa: ARG002  # its own
        """Return a new access token; concurrent callers share one refresh.

        Raises:
            Refusal: if Dailymotion grants no token.
            StateError: if the file cannot be read or written.
        """
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
        task = self._refreshing
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                self._refreshing = None

    async def close(self) -> None:
        """Cancel a refresh that still waits for the file; wait for a request that was sent."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def _refresh(self) -> AccessToken:
        deadline = self._clock.monotonic() + TOKEN_TIMEOUT_SECONDS
        async with self._file.lock(deadline=deadline) as login:
            # The wait for the lock does not count towards the request's deadline.
            deadline = self._clock.monotonic() + TOKEN_TIMEOUT_SECONDS
            return await refresh_access_token(login, self._endpoint, deadline=deadline)


async def refresh_access_token(
    login: LockedRefreshToken, endpoint: TokenEndpoint, *, deadline: float
) -> AccessToken:
    """Fetch a new access token with the stored refresh token.

    Raises:
        Refusal: if there is no stored login, or Dailymotion grants no token.
    """
    form = {"refresh_token": login.read(endpoint.api_key)}
    return await exchange_grant(login, endpoint, "refresh_token", deadline=deadline, form=form)


async def exchange_grant(
    login: LockedRefreshToken,
    endpoint: TokenEndpoint,
    grant_type: str,
    *,
    deadline: float,
    form: dict[str, str],
) -> AccessToken:
    """Exchange a grant for an access token, and store the refresh token of the response.

    Once sent, the request runs to completion even if the caller is cancelled: the old refresh token
    may be invalid already, and only the response has the new one. There is no await between
    receiving the response and writing the file, so that only the end of the process or a crash of
    the machine can lose the token.

    Raises:
        Refusal: if Dailymotion grants no token.
    """

    async def request_and_store() -> AccessToken:
        response = await endpoint.request_token(grant_type, deadline=deadline, **form)
        if (new_token := read_refresh_token(response)) not in {"", form.get("refresh_token")}:
            login.write(endpoint.api_key, new_token)
        return endpoint.read_token(response, grant_type)

    login.reserve_space()
    return await run_to_completion(request_and_store())


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; if the caller is cancelled meanwhile, raise that afterwards."""
    task = asyncio.create_task(work, name=UNINTERRUPTIBLE)
    try:
        return await asyncio.shield(task)
    finally:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # or asyncio logs that the exception was never retrieved


def is_exchange_running() -> bool:
    """Return whether a request is in flight that must not be cancelled."""
    return any(task.get_name() == UNINTERRUPTIBLE for task in asyncio.all_tasks())
