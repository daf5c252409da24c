"""Dailymotion's API v2: a call of its own for streams, HLS only; errors have a code in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.api_client import ApiRequest
from proxy.adapters.dailymotion.api_responses import build_bad_response_refusal
from proxy.domain.client_ip import Address
from proxy.domain.formats import HLS_FIELDS
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId
from proxy.settings.platform import PlatformConfig


class V2Api:
    """Builds the requests of this generation, and reads its responses.

    Which of v2's calls has a video's title is not known.
    """

    def __init__(self, platform: PlatformConfig) -> None:
        self._videos = URL(platform.endpoints.rest_url) / "videos"
        self._flags: dict[str, bool] = dict.fromkeys(platform.url_flags, True)

    def build_stream_request(
        self, video: VideoId, fields: tuple[str, ...], client_ip: Address | None
    ) -> ApiRequest:
        """Return the request for a video's stream URLs, or refuse to ask for MP4 alone."""
        if not any(field in HLS_FIELDS for field in fields):
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "API v2 has no MP4; see platform.api")
        body: dict[str, Any] = {"protocol": "hls", **self._flags}
        if client_ip is not None:
            body["client_ip"] = str(client_ip)
        url = self._videos / video / "streams"
        return ApiRequest(method="POST", url=url, options={"json": body})

    def read_streams(self, members: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
        """Return the stream URL under the first field that is HLS; v2 tells VOD and live alike."""
        field = next(name for name in fields if name in HLS_FIELDS)
        streams = members.get("stream_urls")
        if not isinstance(streams, list):
            raise build_bad_response_refusal("video: stream_urls is not a list")
        first = streams[0] if streams else None
        url = first.get("stream_url") if isinstance(first, dict) else first
        if url is None:
            raise Refusal(Reason.STREAM_UNAVAILABLE, "video: stream_urls has none")
        if not isinstance(url, str) or not url:
            raise build_bad_response_refusal("video: stream_url is not a text")
        return {field: url}
