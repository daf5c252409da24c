"""Dailymotion's API v2: a separate call for streams, HLS only; its error codes are words."""

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
    """Builds API v2 requests and reads their responses.

    It builds no details request, because it is unknown which v2 call returns a video's title.
    """

    def __init__(self, platform: PlatformConfig) -> None:
        self._videos = URL(platform.endpoints.rest_url) / "videos"
        self._flags: dict[str, bool] = dict.fromkeys(platform.url_flags, True)

    def build_stream_request(
        self, video: VideoId, fields: tuple[str, ...], client_ip: Address | None
    ) -> ApiRequest:
        """Build the request for a video's stream URLs.

        Raises:
            Refusal: if `fields` has no HLS field.
        """
        if not any(field in HLS_FIELDS for field in fields):
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "API v2 has no MP4; see platform.api")
        body: dict[str, Any] = {"protocol": "hls", **self._flags}
        if client_ip is not None:
            body["client_ip"] = str(client_ip)
        url = self._videos / video / "streams"
        return ApiRequest(method="POST", url=url, options={"json": body})

    def read_streams(self, members: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
        """Return the stream URL, keyed by the first HLS field; v2 has one URL for VOD and live.

        Raises:
            Refusal: if the response has no stream URL.
        """
        field = next(name for name in fields if name in HLS_FIELDS)
        streams = members.get("stream_urls")
        if not isinstance(streams, list):
            raise build_bad_response_refusal("video: stream_urls is not a list")
        first = streams[0] if streams else None
        url = first.get("stream_url") if isinstance(first, dict) else first
        if url is None:
            raise Refusal(Reason.STREAM_UNAVAILABLE, "video: stream_urls has no URL")
        if not isinstance(url, str) or not url:
            raise build_bad_response_refusal("video: stream_url is not a string")
        return {field: url}
