"""Calls of the Legacy API that only commands make: access token details, and managing videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any

import aiohttp
from aiohttp.payload import IOBasePayload
from yarl import URL

from proxy.adapters.dailymotion.api_client import ApiClient, ApiRequest
from proxy.adapters.dailymotion.api_responses import (
    build_bad_response_refusal,
    check_success,
    read_object,
    to_refusal,
)
from proxy.adapters.errors import CONNECTION_ERRORS, UpstreamError, build_connection_error
from proxy.adapters.http_client import HttpResponse, read_body
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import SAFE_ID, VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenInfo:
    """The channel that an access token belongs to, and its permissions."""

    channel_id: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]


class AccountApi:
    """Calls about the access token itself.

    Every call raises `Refusal` if it fails.
    """

    def __init__(self, client: ApiClient, rest_url: str) -> None:
        self._client = client
        self._rest_url = URL(rest_url)

    async def echo(self, message: str) -> str:
        """Send `message` to the echo call; return the message that Dailymotion sends back."""
        members = await self._client.fetch_object(self._build_request("echo", message=message))
        return str(members.get("message"))

    async def fetch_token_info(self) -> AccessTokenInfo:
        """Fetch the token's channel, scopes and roles."""
        members = await self._client.fetch_object(self._build_request("auth"))
        return AccessTokenInfo(
            channel_id=str(members.get("id") or ""),
            scopes=_read_scopes(members.get("scope")),
            roles=_read_scopes(members.get("roles")),
        )

    async def revoke(self) -> None:
        """Revoke the access token and the login that granted it."""
        await self._client.call(self._build_request("logout"), check_success)

    def _build_request(self, name: str, **query: str) -> ApiRequest:
        return ApiRequest(operation="account", url=(self._rest_url / name).with_query(query))


def _read_scopes(value: Any) -> tuple[str, ...]:
    """Read scopes from a list, or from one string separated by spaces (RFC 6749, 3.3)."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(scope) for scope in value) if isinstance(value, list) else ()


LIST_FIELDS = ("id", "title", "mode", "status", "published", "private", "duration")
MAX_PAGE_SIZE = 100
UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPage:
    """One page of a channel's videos with their `LIST_FIELDS`, and whether more pages follow."""

    videos: tuple[Mapping[str, Any], ...]
    has_more: bool


class VideosApi:
    """Calls that manage one account's videos.

    Every call raises `Refusal` if it fails.
    """

    def __init__(
        self, client: ApiClient, rest_url: str, session: aiohttp.ClientSession, token: str
    ) -> None:
        self._client = client
        self._rest_url = URL(rest_url)
        self._session = session  # for uploads, which have no total timeout
        self._token = token

    async def fetch_page(self, channel_id: str, *, page: int, limit: int) -> VideoPage:
        """Fetch one page of a channel's videos; the first page is 1."""
        query = {"fields": ",".join(LIST_FIELDS), "page": str(page), "limit": str(limit)}
        url = (self._rest_url / "user" / channel_id / "videos").with_query(query)
        members = await self._call("GET", url)
        videos = members.get("list")
        if not isinstance(videos, list) or not all(isinstance(video, dict) for video in videos):
            raise build_bad_response_refusal("videos: list is not a list of objects")
        return VideoPage(videos=tuple(videos), has_more=members.get("has_more") is True)

    async def fetch_title(self, video: VideoId) -> str:
        """Fetch a video's title."""
        url = (self._rest_url / "video" / video).with_query({"fields": "title"})
        return str((await self._call("GET", url)).get("title") or "")

    async def fetch_upload_url(self) -> str:
        """Fetch a URL to upload a file to."""
        return _read_text(await self._call("GET", self._rest_url / "file" / "upload"), "upload_url")

    async def publish(self, channel_id: str, fields: Mapping[str, str]) -> VideoId:
        """Create a video from an uploaded file; return its ID."""
        url = self._rest_url / "user" / channel_id / "videos"
        video = _read_text(await self._call("POST", url, data=dict(fields)), "id")
        if SAFE_ID.fullmatch(video) is None:
            raise build_bad_response_refusal("videos: the id in the response is not a video ID")
        return VideoId(video)

    async def edit(self, video: VideoId, fields: Mapping[str, str]) -> None:
        """Change fields of a video."""
        await self._call("POST", self._rest_url / "video" / video, data=dict(fields))

    async def delete(self, video: VideoId) -> None:
        """Delete a video permanently."""
        url = self._rest_url / "video" / video
        await self._client.call(
            ApiRequest(operation="videos", method="DELETE", url=url), check_success
        )

    async def upload(self, url: str, file: IO[bytes], name: str) -> str:
        """Upload a file, which may take hours; return the URL that `publish` needs.

        `url` comes from `fetch_upload_url` and is used unchanged. Its host is not the API's host.
        """
        form = aiohttp.FormData()
        # By default, aiohttp would send the local file's own name.
        part = IOBasePayload(file, filename=name, content_type="application/octet-stream")
        form.add_field("file", part, filename=name)
        try:
            async with self._session.post(
                URL(url, encoded=True),
                data=form,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=UPLOAD_TIMEOUT,
                allow_redirects=False,
            ) as response:
                body = await read_body("videos", response)
        except TimeoutError:
            raise Refusal(Reason.PLATFORM_TIMEOUT, "videos: the upload timed out") from None
        except UpstreamError as error:
            raise to_refusal(error) from None
        except CONNECTION_ERRORS as error:
            raise to_refusal(build_connection_error("videos", URL(url).host, error)) from None
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Refusal(Reason.PLATFORM_UNREACHABLE, f"videos: upload: HTTP {response.status}")
        complete = HttpResponse(status=response.status, headers=response.headers, body=body)
        return _read_text(read_object("videos", complete), "url")

    async def _call(self, method: str, url: URL, **options: Any) -> dict[str, Any]:
        request = ApiRequest(operation="videos", method=method, url=url, options=options)
        return await self._client.fetch_object(request)


def _read_text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise build_bad_response_refusal(f"videos: no {name} in the response")
    return value
