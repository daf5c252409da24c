"""The account of [videos] from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from proxy.adapters.dailymotion.stored_login import PATIENCE
from proxy.adapters.dailymotion.token_endpoint import TokenEndpoint
from proxy.adapters.dailymotion.videos import VideosApi
from proxy.adapters.telemetry import build_telemetry
from proxy.cli import interrupts
from proxy.cli.account import build_client
from proxy.cli.options import fail, why
from proxy.domain.reasons import Reason, Refusal
from proxy.settings import Settings
from proxy.wiring import build_patient_http, open_api_session

T = TypeVar("T")


def run(settings: Settings, work: Callable[[VideosApi], Awaitable[T]]) -> T:
    """Do some work at Dailymotion, or say why not and exit with 1."""

    async def done() -> T:
        async with open_videos(settings) as videos:
            return await work(videos)

    try:
        return interrupts.run(done())
    except Refusal as refusal:
        is_about_scope = refusal.reason is Reason.PLATFORM_PERMISSION
        hint = "; see videos.scope and the API key's permissions" if is_about_scope else ""
        fail(f"{why(refusal)}{hint}")
    except OSError as error:
        fail(f"the file cannot be read: {error.strerror}")


@asynccontextmanager
async def open_videos(settings: Settings) -> AsyncIterator[VideosApi]:
    """Open the way to Dailymotion for the account of [videos]."""
    videos = settings.videos
    if not videos.api_key:
        fail("videos.api_key is not set: this takes another API key than the edge's")
    telemetry = build_telemetry()
    async with open_api_session(settings.platform) as session:
        http = build_patient_http(session, telemetry)
        endpoint = TokenEndpoint(http, videos, telemetry.clock)
        deadline = telemetry.clock.monotonic() + PATIENCE
        token = await endpoint.fetch_access_token(deadline=deadline)
        client = build_client(http, token.value, telemetry)
        yield VideosApi(client, videos.endpoints.rest_url, session, token.value)
