"""What is good for one use, a code or a refresh token: shown once, and its answer seen through."""

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

TOKEN_TIMEOUT_SECONDS = 30.0  # seconds
UNINTERRUPTIBLE = "seen-through"


class RefreshTokenGrant:
    """The grant of `playgate login`: a refresh token in a file, which every use may replace.

    A renewal that has begun goes on, whoever stops waiting for it.
    """

    def __init__(self, endpoint: TokenEndpoint, file: RefreshTokenFile, clock: Clock) -> None:
        self._endpoint = endpoint
        self._file = file
        self._clock = clock
        self._renewal: asyncio.Task[AccessToken] | None = None

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:  # noqa: ARG002  # its own
        """Return a new access token, or refuse; a renewal under way is joined.

        Raises:
            StateError: the file cannot be read or written.
        """
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._refresh())
        renewal = self._renewal
        try:
            return await asyncio.shield(renewal)
        finally:
            if renewal.done():
                self._renewal = None

    async def close(self) -> None:
        """Give up a renewal that waits for the file; one that was asked for is seen through."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _refresh(self) -> AccessToken:
        deadline = self._clock.monotonic() + TOKEN_TIMEOUT_SECONDS
        async with self._file.lock(deadline=deadline) as login:
            deadline = (
                self._clock.monotonic() + TOKEN_TIMEOUT_SECONDS
            )  # the wait is not the server's
            return await refresh_access_token(login, self._endpoint, deadline=deadline)


async def refresh_access_token(
    login: LockedRefreshToken, endpoint: TokenEndpoint, *, deadline: float
) -> AccessToken:
    """Return a new access token for a login that is held, or refuse."""
    held = login.read(endpoint.api_key)
    form = {"refresh_token": held}
    return await exchange_grant(login, endpoint, "refresh_token", deadline=deadline, form=form)


async def exchange_grant(
    login: LockedRefreshToken,
    endpoint: TokenEndpoint,
    grant_type: str,
    *,
    deadline: float,
    form: dict[str, str],
) -> AccessToken:
    """Return the access token for a grant and keep what refreshes it, or refuse.

    Once asked for, it is seen through, whoever is cancelled: the old refresh token may be void
    already, and the new one is in the answer. Between the answer and the file there is no await, so
    that nothing but the end of the process or of the machine comes between the two.
    """

    async def ask_and_keep() -> AccessToken:
        answer = await endpoint.request_token(grant_type, deadline=deadline, **form)
        if (following := read_refresh_token(answer)) not in {"", form.get("refresh_token")}:
            login.write(endpoint.api_key, following)
        return endpoint.read_token(answer, grant_type)

    login.reserve_space()
    return await run_to_completion(ask_and_keep())


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Return what becomes of some work; whoever is cancelled meanwhile is so when it is done."""
    task = asyncio.create_task(work, name=UNINTERRUPTIBLE)
    try:
        return await asyncio.shield(task)
    finally:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would write about it


def is_exchange_running() -> bool:
    """Say whether an answer is waited for that nobody can give up."""
    return any(task.get_name() == UNINTERRUPTIBLE for task in asyncio.all_tasks())
