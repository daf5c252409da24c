"""Dailymotion's Legacy API (v0): one call for all that is to be known of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from yarl import URL

from proxy.adapters.dailymotion.answers import bad_answer, loggable, read_object
from proxy.adapters.dailymotion.endpoints import Flag
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.domain.formats import Wanted
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import Details, VideoId

DETAILS = ("title", "thumbnail_url", "mode", "onair")
# Asked for with the stream: they tell why there is none.
STATE = ("mode", "onair", "status", "private", "password_protected")


class LegacyApi:
    """Asks for stream URLs, and for what a page says of a video."""

    def __init__(
        self,
        exchange: Exchange,
        rest_url: str,
        *,
        flags: Sequence[Flag],
    ) -> None:
        self._exchange = exchange
        self._videos = str(URL(rest_url) / "video")
        self._flags: dict[str, str] = dict.fromkeys(flags, "1")
        self._query_for = cache(self._build_query)

    async def fetch_streams(
        self, wanted: Wanted, access_token: str, *, deadline: float
    ) -> dict[str, str]:
        """Return the video's stream URLs, of those fields that it has, or refuse.

        Args:
            wanted: of which video, in which formats, for whose address.
            access_token: the account's.
            deadline: on the monotonic clock.

        Raises:
            AccessTokenRefused: the access token did not do.
            Refusal: any other reason; without a single URL it says why there is none.
        """
        query = self._query_for(wanted.fields)
        if wanted.client_ip is not None:
            query = f"{query}&client_ip={wanted.client_ip}"
        members = await self._get(wanted.video, query, access_token, deadline)
        return read_streams(members, wanted.fields)

    async def fetch_details(self, video: VideoId, access_token: str, *, deadline: float) -> Details:
        """Return what a page says of a video, or refuse as `fetch_streams` does."""
        query = f"fields={','.join(DETAILS)}"
        members = await self._get(video, query, access_token, deadline)
        title, poster = members.get("title"), members.get("thumbnail_url")
        return Details(
            title=title if isinstance(title, str) else "",
            poster=poster if isinstance(poster, str) else "",
            is_on_air=members.get("mode") == "live" and members.get("onair") is True,
        )

    def _build_query(self, fields: tuple[str, ...]) -> str:
        """Return the query without the viewer; there are as many as combinations of formats."""
        query = {"fields": ",".join([*fields, *STATE]), **self._flags}
        return URL.build(query=query).raw_query_string

    async def _get(
        self, video: VideoId, query: str, access_token: str, deadline: float
    ) -> dict[str, Any]:
        answer = await self._exchange.send(
            "video",
            "GET",
            # Nothing in it needs quoting (SAFE ids, an address), and yarl takes long to see that.
            URL(f"{self._videos}/{video}?{query}", encoded=True),
            deadline=deadline,
            headers={"Authorization": f"Bearer {access_token}"},
        )
        return read_object("video", answer)


def read_streams(members: Mapping[str, Any], fields: Sequence[str]) -> dict[str, str]:
    """Return the URLs of those fields that are not null, or say why all of them are."""
    given = {field: members[field] for field in fields if members.get(field) is not None}
    found = {field: url for field, url in given.items() if isinstance(url, str) and url}
    if found:
        return found
    if given:
        raise bad_answer(f"video: {', '.join(given)} is not a text")
    if not any(field in members for field in fields):
        raise bad_answer("video: none of the stream fields is in the answer")
    raise _refusal_of_null(members)


def _refusal_of_null(members: Mapping[str, Any]) -> Refusal:
    """Say why a video has no stream, as far as its other fields tell."""
    if members.get("password_protected") is True:
        return Refusal(Reason.VIDEO_PASSWORD, "video: null, and password_protected")
    if members.get("private") is True:
        return Refusal(Reason.VIDEO_PRIVATE, "video: null, and private")
    if members.get("mode") == "live" and members.get("onair") is False:
        return Refusal(Reason.LIVE_OFF_AIR, "video: null, live and not onair")
    status = loggable(str(members.get("status")))
    return Refusal(Reason.STREAM_UNAVAILABLE, f"video: null, status {status}")
