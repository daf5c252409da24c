"""The sandbox supports every call of Dailymotion's three guides, written as in the guides.

These tests check only the sandbox; other tests check how Playgate uses the calls.
"""

from base64 import b64encode

import aiohttp
import pytest
from support import StillClock, run_test_sandbox
from yarl import URL

from proxy.sandbox.accounts import PUBLIC_KEY, USER, VIDEOS_KEY, OAuthError

PRIVATE = {"client_id": "sandbox", "client_secret": "sandbox-secret"}
PUBLIC = {"client_id": PUBLIC_KEY[0], "client_secret": PUBLIC_KEY[1]}
STUDIO = {"client_id": VIDEOS_KEY[0], "client_secret": VIDEOS_KEY[1]}
MANAGE = "upload_videos read_videos edit_videos delete_videos"
PASSWORD = {"grant_type": "password", "username": USER[0], "password": USER[1], **PUBLIC}
STREAMS = {"stream_hls_url": "x8demo1", "stream_live_hls_url": "x8live1", "stream_h264_url": "x8demo1", "stream_h264_hq_url": "x8demo1", "stream_h264_hd_url": "x8demo1", "stream_h264_hd1080_url": "x8tall1", "stream_h264_qhd_url": "x8tall1", "stream_h264_uhd_url": "x8tall1"}  # fmt: skip


@pytest.fixture
async def call(sandbox):
    """Return a function that sends a request to the sandbox and reads its JSON."""
    async with aiohttp.ClientSession() as session:

        async def send(method: str, path: str, token: str = "", **options):
            headers = options.pop("headers", {})
            if token:
                headers["Authorization"] = f"Bearer {token}"
            url = path if path.startswith("http") else f"{sandbox.origin}{path}"
            async with session.request(
                method, URL(url, encoded=True), headers=headers, allow_redirects=False, **options
            ) as response:
                is_json = response.content_type == "application/json"
                body = await (response.json() if is_json else response.text())
                return response.status, body, response.headers

        yield send


async def authorize(call, sandbox, **changes) -> URL:
    """Allow access as a user does; return the URL that the browser is redirected to."""
    query = {
        "response_type": "code",
        "client_id": PUBLIC_KEY[0],
        "redirect_uri": sandbox.accounts.callback_url,
        "scope": "email, manage_videos",
        **changes,
    }
    status, page, _ = await call("GET", str(URL("/oauth/authorize").with_query(query)))
    assert status == 200 and "<form" in page
    form = {**query, "username": USER[0], "password": USER[1], "answer": "allow"}
    status, _, headers = await call("POST", "/oauth/authorize", data=form)
    assert status == 302
    return URL(headers["Location"])


class TestGrants:
    """Platform API Authentication: the four grants, each with its endpoint and kind of API key."""

    async def test_a_private_key_gets_a_token_with_client_credentials(self, call):
        form = {"grant_type": "client_credentials", "scope": "read_video_streams", **PRIVATE}
        status, body, _ = await call("POST", "/oauth/v1/token", data=form)

        assert status == 200
        assert {name: body[name] for name in body if name != "access_token"} == {
            "token_type": "Bearer",
            "expires_in": 36000,
            "scope": "read_video_streams",
        }

    async def test_a_public_key_gets_a_token_with_a_password(self, call):
        status, body, _ = await call(
            "POST", "/oauth/token", data={**PASSWORD, "scope": "manage_videos"}
        )

        assert status == 200
        assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}

    async def test_a_public_key_gets_a_token_with_an_authorization_code(self, call, sandbox):
        """The Data API guide sends HTTP Basic as well as the form, and an unused `version`."""
        redirect = await authorize(call, sandbox, state="s t/a=te")
        assert str(redirect).startswith(f"{sandbox.accounts.callback_url}?code=")
        assert redirect.query["state"] == "s t/a=te"
        basic = b64encode(":".join(PUBLIC_KEY).encode()).decode()
        form = {
            "grant_type": "authorization_code",
            "code": redirect.query["code"],
            "redirect_uri": sandbox.accounts.callback_url,
            "version": "2",
            **PUBLIC,
        }
        headers = {"Authorization": f"Basic {basic}"}
        status, body, _ = await call("POST", "/oauth/token", data=form, headers=headers)
        assert status == 200 and body["refresh_token"]

        status, body, _ = await call("POST", "/oauth/token", data=form)
        assert (status, body["error"]) == (400, "invalid_grant")  # a code can be used once

    async def test_without_state_the_redirect_has_no_state(self, call, sandbox):
        assert "state" not in (await authorize(call, sandbox)).query

    async def test_a_refresh_token_gets_another_access_token(self, call):
        _, tokens, _ = await call("POST", "/oauth/token", data=PASSWORD)
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **PUBLIC}
        status, body, _ = await call("POST", "/oauth/token", data=form)

        assert status == 200
        assert body["access_token"] != tokens["access_token"]
        assert (await call("GET", "/echo?message=hi", body["access_token"]))[0] == 200

    @pytest.mark.parametrize(
        ("path", "form", "status", "error"),
        [
            ("/oauth/token", {"grant_type": "password", **PRIVATE}, 400, "invalid_client"),
            ("/oauth/v1/token", {"grant_type": "client_credentials", **PUBLIC}, 400, "invalid_client"),
            ("/oauth/token", {"grant_type": "client_credentials", **PUBLIC}, 400, "unsupported_grant_type"),
            ("/oauth/v1/token", PASSWORD, 400, "unsupported_grant_type"),
            ("/oauth/token", {**PASSWORD, "password": "wrong"}, 400, "invalid_grant"),
            ("/oauth/token", {"grant_type": "password", **PUBLIC}, 422, "invalid_request"),
            ("/oauth/token", {"grant_type": "authorization_code", "code": "x", "redirect_uri": "y", **PUBLIC}, 400, "invalid_grant"),
            ("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x", **PUBLIC}, 400, "invalid_grant"),
            ("/v2/token", {"grant_type": "client_credentials", **PUBLIC}, 400, "invalid_client"),
        ],
    )  # fmt: skip
    async def test_an_oauth_error_is_a_string_with_a_description(
        self, call, path, form, status, error
    ):
        actual_status, body, _ = await call("POST", path, data=form)

        assert (actual_status, body["error"]) == (status, error)
        assert isinstance(body["error_description"], str)

    @pytest.mark.parametrize(
        "changes",
        [
            {"redirect_uri": "https://evil.example/"},
            {"client_id": "sandbox"},
            {"response_type": "token"},
        ],
    )
    async def test_a_wrong_authorization_url_shows_an_error_page_and_does_not_redirect(
        self, call, sandbox, changes
    ):
        query = {
            "response_type": "code",
            "client_id": PUBLIC_KEY[0],
            "redirect_uri": sandbox.accounts.callback_url,
            **changes,
        }
        for method, options in (("GET", {}), ("POST", {"data": {**query, "answer": "allow"}})):
            url = str(URL("/oauth/authorize").with_query(query if method == "GET" else {}))
            assert (await call(method, url, **options))[0] == 400

    async def test_an_authorization_code_expires(self):
        clock = StillClock()
        async with run_test_sandbox(now=clock.now) as sandbox:
            accounts = sandbox.accounts
            code = accounts.authorize("s", accounts.callback_url, now=clock.now())
            clock.advance(600)
            with pytest.raises(OAuthError, match="invalid_grant"):
                accounts.exchange_code(code, accounts.callback_url, now=clock.now())

    async def test_logout_revokes_the_access_token_and_the_refresh_token(self, call):
        _, tokens, _ = await call("POST", "/oauth/token", data=PASSWORD)
        assert (await call("GET", "/logout", tokens["access_token"]))[:2] == (200, {})

        assert (await call("GET", "/echo?message=hi", tokens["access_token"]))[0] == 401
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **PUBLIC}
        assert (await call("POST", "/oauth/token", data=form))[0] == 400


class TestCalls:
    """The calls of the Data API and the Platform API, with either kind of API key."""

    @pytest.fixture(params=["private", "public"])
    async def account(self, request, call):
        """Return the base path of the calls, and a token that can manage videos."""
        if request.param == "private":
            form = {"grant_type": "client_credentials", "scope": MANAGE, **STUDIO}
            return "/rest", (await call("POST", "/oauth/v1/token", data=form))[1]["access_token"]
        form = {**PASSWORD, "scope": "manage_videos"}
        return "", (await call("POST", "/oauth/token", data=form))[1]["access_token"]

    async def test_echo_accepts_only_a_valid_access_token(self, call, account):
        base, token = account
        status, body, _ = await call("GET", f"{base}/echo?message=Congratulations!", token)
        assert (status, body) == (200, {"message": "Congratulations!"})
        status, body, headers = await call("GET", f"{base}/echo?message=x", "wrong")
        assert (status, body["error"]["code"]) == (401, 401)
        assert 'error="invalid_token"' in headers["WWW-Authenticate"]

    async def test_a_video_can_be_uploaded_published_edited_listed_and_deleted(self, call, account):
        base, token = account
        status, body, _ = await call("GET", f"{base}/file/upload", token)
        assert status == 200 and body["upload_url"].startswith("http")
        form = aiohttp.FormData()
        form.add_field("file", b"a film", filename="film.mp4")
        status, body, _ = await call("POST", body["upload_url"], token, data=form)
        assert status == 200
        fields = {
            "published": "true",
            "url": body["url"],
            "title": "YourVideoTitle",
            "channel": "videogames",
            "is_created_for_kids": "false",
        }
        status, body, _ = await call("POST", f"{base}/user/x1sandbox/videos", token, data=fields)
        assert (status, body["title"]) == (200, "YourVideoTitle")
        video = body["id"]

        status, body, _ = await call(
            "POST", f"{base}/video/{video}", token, data={"title": "Another"}
        )
        assert (status, body["id"]) == (200, video)
        url = f"{base}/user/x1sandbox/videos?fields=id,title&limit=100"
        status, body, _ = await call("GET", url, token)
        assert set(body) == {"page", "limit", "explicit", "total", "has_more", "list"}
        assert {"id": video, "title": "Another"} in body["list"]
        status, body, _ = await call("DELETE", f"{base}/video/{video}", token)
        assert status == 200 and body
        assert (await call("DELETE", f"{base}/video/{video}", token))[0] == 404

    @pytest.mark.parametrize(
        ("method", "path", "data", "error", "param"),
        [
            ("POST", "/user/x1sandbox/videos", {}, "missing_required_parameter", "url"),
            ("POST", "/user/x1sandbox/videos", {"url": "u", "title": "t", "channel": "c", "is_created_for_kids": "false"}, "invalid_parameter", "url"),
            ("POST", "/video/x8demo1", {"colour": "blue"}, "invalid_parameter", "colour"),
            ("GET", "/user/x1sandbox/videos?limit=101", None, "invalid_parameter", "limit"),
            ("GET", "/echo", None, "missing_required_parameter", "message"),
        ],
    )  # fmt: skip
    async def test_a_parameter_error_names_the_parameter(
        self, call, account, *, method, path, data, error, param
    ):
        base, token = account
        status, body, _ = await call(method, f"{base}{path}", token, data=data)

        assert (status, body["error"]["type"]) == (400, error)
        assert body["error"]["error_data"]["param"] == param

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/file/upload"),
            ("POST", "/user/x1sandbox/videos"),
            ("GET", "/user/x1sandbox/videos"),
            ("POST", "/video/x8demo1"),
            ("DELETE", "/video/x8demo1"),
        ],
    )
    async def test_the_edges_key_cannot_manage_videos(self, call, method, path):
        form = {"grant_type": "client_credentials", "scope": "read_video_streams", **PRIVATE}
        token = (await call("POST", "/oauth/v1/token", data=form))[1]["access_token"]

        assert (await call(method, f"/rest{path}", token))[0] == 403
        status, body, _ = await call("POST", "/oauth/v1/token", data={**form, "scope": MANAGE})
        assert (status, body["error"]) == (400, "invalid_scope")
        assert (await call(method, f"/rest{path}"))[0] == 401

    @pytest.mark.parametrize(("field", "video"), STREAMS.items())
    async def test_the_stream_url_of_every_format_works(self, call, field, video):
        form = {"grant_type": "client_credentials", "scope": "read_video_streams", **PRIVATE}
        token = (await call("POST", "/oauth/v1/token", data=form))[1]["access_token"]
        url = f"/rest/video/{video}?client_ip=127.0.0.1&fields={field}"
        status, body, _ = await call("GET", url, token)
        assert (status, list(body)) == (200, [field])

        async with aiohttp.ClientSession() as session:
            async with session.get(URL(body[field], encoded=True)) as response:
                assert response.status == 200
                is_hls = "hls" in field
                beginning = await response.content.read(8)
                assert beginning.startswith(b"#EXTM3U") if is_hls else beginning[4:] == b"ftyp"
            if not is_hls:
                async with session.get(URL(f"{body[field]}&download=1", encoded=True)) as response:
                    assert "attachment" in response.headers["Content-Disposition"]

    async def test_api_v2_returns_stream_urls_and_its_own_error_codes(self, call):
        form = {"grant_type": "client_credentials", "scope": "video.read", **PRIVATE}
        token = (await call("POST", "/v2/token", data=form))[1]["access_token"]
        path = "/v2/videos/{}/streams"
        status, body, _ = await call(
            "POST", path.format("x8demo1"), token, json={"protocol": "hls"}
        )
        assert status == 200 and list(body["stream_urls"][0]) == ["stream_url"]
        assert (await call("POST", path.format("x8live1"), token))[1]["stream_urls"]

        status, body, _ = await call("POST", path.format("x8nowhere"), token, json={})
        assert (status, body["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
        assert set(body["error"]) == {"code", "message", "correlation_id", "details", "documentation_url"}  # fmt: skip
        for wrong in ({"protocol": "smooth"}, {"client_ip": "me"}):
            status, body, _ = await call("POST", path.format("x8demo1"), token, json=wrong)
            assert (status, body["error"]["code"]) == (400, "INVALID_PARAMETER")
        assert (await call("POST", path.format("x8demo1"), "wrong"))[0] == 401
