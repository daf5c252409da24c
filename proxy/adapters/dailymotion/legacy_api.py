"""Dailymotion's Legacy API (v0): one call for all that is to be known of a video."""

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
# Asked for with the stream: they tell why there is none.
STATE_FIELDS = ("mode", "onair", "status", "private", "password_protected")


class LegacyApi:
    """Builds the requests of this generation, and reads its responses."""

    def __init__(self, platform: PlatformConfig) -> None:
        self._videos = URL(platform.endpoints.rest_url) / "video"
        self._flags: dict[str, str] = dict.fromkeys(platform.url_flags, "1")

    def build_stream_request(
        self, video: VideoId, fields: tuple[str, ...], client_ip: Address | None
    ) -> ApiRequest:
        """Return the request for a video's stream URLs, locked to an address or to the asker's."""
        query = {"fields": ",".join([*fields, *STATE_FIELDS]), **self._flags}
        if client_ip is not None:
            query["client_ip"] = str(client_ip)
        return self._build_request(video, query)

    def read_streams(self, members: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
        """Return the URLs of those fields that are not null, or refuse with why all of them are."""
        given = {field: members[field] for field in fields if members.get(field) is not None}
        found = {field: url for field, url in given.items() if isinstance(url, str) and url}
        if found:
            return found
        if given:
            raise build_bad_response_refusal(f"video: {', '.join(given)} is not a text")
        if not any(field in members for field in fields):
            raise build_bad_response_refusal("video: none of the stream fields is in the answer")
        raise _explain_missing_stream(members)

    def build_details_request(self, video: VideoId) -> ApiRequest:
        """Return the request for what a page says of a video."""
        return self._build_request(video, {"fields": ",".join(DETAIL_FIELDS)})

    def read_details(self, members: Mapping[str, Any]) -> VideoDetails:
        """Return what a page says of a video."""
        title, poster = members.get("title"), members.get("thumbnail_url")
        return VideoDetails(
            title=title if isinstance(title, str) else "",
            poster=poster if isinstance(poster, str) else "",
            is_on_air=members.get("mode") == "live" and members.get("onair") is True,
        )

    def _build_request(self, video: VideoId, query: Mapping[str, str]) -> ApiRequest:
        return ApiRequest(url=(self._videos / video).with_query(query))


def _explain_missing_stream(members: Mapping[str, Any]) -> Refusal:
    """Say why a video has no stream, as far as its other fields tell."""
    if members.get("password_protected") is True:
        return Refusal(Reason.VIDEO_PASSWORD, "video: null, and password_protected")
    if members.get("private") is True:
        return Refusal(Reason.VIDEO_PRIVATE, "video: null, and private")
    if members.get("mode") == "live" and members.get("onair") is False:
        return Refusal(Reason.LIVE_OFF_AIR, "video: null, live and not onair")
    status = to_loggable(str(members.get("status")))
    return Refusal(Reason.STREAM_UNAVAILABLE, f"video: null, status {status}")
