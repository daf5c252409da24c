"""Dailymotion's Legacy API (v0): one call returns all fields of a video."""

from collections.abc import Mapping, Sequence
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.api_client import ApiRequest
from proxy.adapters.dailymotion.api_responses import build_bad_response_refusal, to_loggable
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoDetails, VideoId
from proxy.settings.platform import PlatformConfig

DETAIL_FIELDS = ("title", "thumbnail_url", "mode", "onair")
# Requested together with the stream fields: they show why a video has no stream.
STATE_FIELDS = ("mode", "onair", "status", "private", "password_protected")


class LegacyApi:
    """Builds Legacy API requests and reads their responses."""

    def __init__(self, platform: PlatformConfig) -> None:
        self._videos = URL(platform.endpoints.rest_url) / "video"
        self._flags: dict[str, str] = dict.fromkeys(platform.url_flags, "1")

    def build_stream_request(
        self, video: VideoId, fields: tuple[str, ...], client_ip: Address | None
    ) -> ApiRequest:
        """Build the request for a video's stream URLs.

        Dailymotion locks them to `client_ip`; if that is None, to the address it sees.
        """
        query = {"fields": ",".join([*fields, *STATE_FIELDS]), **self._flags}
        if client_ip is not None:
            query["client_ip"] = str(client_ip)
        return self._build_request(video, query)

    def read_streams(self, members: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
        """Return the stream URL of each field that has one.

        Raises:
            Refusal: if no field has a URL, with the reason that the other fields show.
        """
        values = {field: members[field] for field in fields if members.get(field) is not None}
        urls = {field: url for field, url in values.items() if isinstance(url, str) and url}
        if urls:
            return urls
        if values:
            raise build_bad_response_refusal(f"video: {', '.join(values)} is not a string")
        if not any(field in members for field in fields):
            raise build_bad_response_refusal("video: the response has none of the stream fields")
        raise _build_missing_stream_refusal(members)

    def build_details_request(self, video: VideoId) -> ApiRequest:
        """Build the request for the details of a video that the player page shows."""
        return self._build_request(video, {"fields": ",".join(DETAIL_FIELDS)})

    def read_details(self, members: Mapping[str, Any]) -> VideoDetails:
        """Return the details that the player page shows."""
        title, poster = members.get("title"), members.get("thumbnail_url")
        return VideoDetails(
            title=title if isinstance(title, str) else "",
            poster=poster if isinstance(poster, str) else "",
            is_on_air=members.get("mode") == "live" and members.get("onair") is True,
        )

    def _build_request(self, video: VideoId, query: Mapping[str, str]) -> ApiRequest:
        return ApiRequest(url=(self._videos / video).with_query(query))


def _build_missing_stream_refusal(members: Mapping[str, Any]) -> Refusal:
    """Build the refusal for a video without a stream; its other fields show the reason."""
    if members.get("password_protected") is True:
        return Refusal(Reason.VIDEO_PASSWORD, "video: stream URL is null, password_protected")
    if members.get("private") is True:
        return Refusal(Reason.VIDEO_PRIVATE, "video: stream URL is null, private")
    if members.get("mode") == "live" and members.get("onair") is False:
        return Refusal(Reason.LIVE_OFF_AIR, "video: stream URL is null, live and not onair")
    status = to_loggable(str(members.get("status")))
    return Refusal(Reason.STREAM_UNAVAILABLE, f"video: stream URL is null, status {status}")
