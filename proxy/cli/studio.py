"""The account of [videos] from the command line."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.renewals import PATIENCE
from proxy.adapters.dailymotion.videos import VideosApi
from proxy.adapters.logs import build_logger
from proxy.app import open_api_session
from proxy.cli import interrupts
from proxy.cli.options import fail, why
from proxy.domain.reasons import Reason, Refusal
from proxy.settings import Settings
from proxy.wiring.instruments import build_instruments
from proxy.wiring.platform import build_patient_exchange, build_settings_grant

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What the commands work with."""

    api: VideosApi
    session: aiohttp.ClientSession
    clock: Clock

    @property
    def deadline(self) -> float:
        """When a call that begins now must be over."""
        return self.clock.monotonic() + PATIENCE


def run(settings: Settings, work: Callable[[Studio], Awaitable[T]]) -> T:
    """Do some work at Dailymotion, or say why not and exit with 1."""

    async def done() -> T:
        async with open_studio(settings) as studio:
            return await work(studio)

    try:
        return interrupts.run(done())
    except Refusal as refusal:
        is_about_scope = refusal.reason is Reason.PLATFORM_PERMISSION
        hint = "; see videos.scope and the API key's permissions" if is_about_scope else ""
        fail(f"{why(refusal)}{hint}")
    except OSError as error:
        fail(f"the file cannot be read: {error.strerror}")


@asynccontextmanager
async def open_studio(settings: Settings) -> AsyncIterator[Studio]:
    """Open the way to Dailymotion for the account of [videos]."""
    videos = settings.videos
    if not videos.api_key:
        fail("videos.api_key is not set: this takes another API key than the edge's")
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    async with open_api_session(settings) as session:
        exchange = build_patient_exchange(session, instruments)
        grant = build_settings_grant(videos, exchange)
        deadline = instruments.clock.monotonic() + PATIENCE
        token = await grant.fetch_access_token(deadline=deadline)
        api = VideosApi(exchange, videos.endpoints.rest_url, token.value)
        yield Studio(api=api, session=session, clock=instruments.clock)
