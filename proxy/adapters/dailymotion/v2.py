"""Dailymotion's API v2: a call of its own for streams, HLS only; errors have a code in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.answers import bad_answer, read_object
from proxy.adapters.dailymotion.endpoints import Flag
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.domain.formats import FORMATS, Wanted
from proxy.domain.reasons import Reason, Refusal


class V2Api:
    """Asks for stream URLs. Which of v2's calls tells a video's title is not known."""

    def __init__(self, exchange: Exchange, rest_url: str, *, flags: Sequence[Flag]) -> None:
        self._exchange = exchange
        self._rest_url = URL(rest_url)
        self._flags: dict[str, bool] = dict.fromkeys(flags, True)

    async def fetch_streams(
        self, wanted: Wanted, access_token: str, *, deadline: float
    ) -> dict[str, str]:
        """Return the HLS stream URL under the first field that means HLS, or refuse.

        Args and errors are those of `LegacyApi.fetch_streams`; v2 tells VOD and live alike.
        """
        field = next((name for name in wanted.fields if FORMATS.get(name) != "mp4"), None)
        if field is None:
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "API v2 has no MP4; see platform.api")
        body = {"protocol": "hls", **self._flags}
        if wanted.client_ip is not None:
            body["client_ip"] = str(wanted.client_ip)
        answer = await self._exchange.send(
            "video",
            "POST",
            self._rest_url / "videos" / wanted.video / "streams",
            deadline=deadline,
            headers={"Authorization": f"Bearer {access_token}"},
            json=body,
        )
        return {field: read_stream_url(read_object("video", answer))}


def read_stream_url(members: Mapping[str, Any]) -> str:
    """Return the first stream URL of an answer, or say why there is none."""
    streams = members.get("stream_urls")
    if not isinstance(streams, list):
        raise bad_answer("video: stream_urls is not a list")
    first = streams[0] if streams else None
    url = first.get("stream_url") if isinstance(first, dict) else first
    if url is None:
        raise Refusal(Reason.STREAM_UNAVAILABLE, "video: stream_urls has none")
    if not isinstance(url, str) or not url:
        raise bad_answer("video: stream_url is not a text")
    return url
