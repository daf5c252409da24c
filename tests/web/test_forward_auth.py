"""GET /forward-auth, as Caddy's forward_auth and Traefik's ForwardAuth request it."""

import pytest
from support import run_test_edge

PATH = "/hls/x8abcd/index.m3u8"
BEHIND_PROXY = {
    "viewer": {"trusted_proxies": ["127.0.0.1"]},
    "auth": {"protected_paths": ["/hls/(?P<video>[^/]+)/.+", r"/play/(?P<video>[^/]+)\.m3u8"]},
}


@pytest.fixture
async def edge(sandbox):
    async with run_test_edge(sandbox, **BEHIND_PROXY) as running:
        yield running


async def request_auth(edge, uri=PATH, *, token="x8abcd", source="127.0.0.1", **headers):
    """Request /forward-auth with all the headers that Traefik sends."""
    all_headers = {
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "play.example.com",
        "X-Forwarded-Uri": uri,
        "X-Forwarded-For": "203.0.113.9",
    }
    if token is not None:
        all_headers["Authorization"] = f"Bearer {edge.mint(token)}"
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await edge.get(
        f"{edge.operator}/forward-auth",
        headers={name: value for name, value in all_headers.items() if value is not None},
        source=source,
    )


async def test_a_token_in_the_url_is_accepted_and_sets_a_cookie_for_the_folder(edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    response = await request_auth(edge, f"{PATH}?token={token}", token=None)

    assert (response.status, response.body) == (204, b"")
    assert response.headers["X-Playgate-Video"] == "x8abcd"
    assert response.headers["X-Playgate-Subject"] == "viewer-7"
    pair, path, max_age, *attributes = response.headers["Set-Cookie"].split("; ")
    assert (pair, path) == (f"playgate_token={token}", "Path=/hls/x8abcd/")
    assert 290 <= int(max_age.removeprefix("Max-Age=")) <= 300  # no longer than the token is valid
    assert attributes == ["HttpOnly", "Secure", "SameSite=None"]
    plain = await request_auth(edge, f"{PATH}?token={token}", token=None, X_Forwarded_Proto="http")
    assert plain.headers["Set-Cookie"].endswith("; HttpOnly")


async def test_a_token_in_a_header_or_cookie_sets_no_cookie(edge):
    by_header = await request_auth(edge)
    by_header_with_empty_query = await request_auth(edge, f"{PATH}?token=")
    by_cookie = await request_auth(edge, token=None, Cookie=f"playgate_token={edge.mint('x8abcd')}")

    for response in (by_header, by_header_with_empty_query, by_cookie):
        assert (response.status, "Set-Cookie" in response.headers) == (204, False)


async def test_a_path_without_a_folder_of_the_video_sets_no_cookie(edge):
    """Players would send the cookie to other videos, and to /play, where it causes a conflict."""
    response = await request_auth(
        edge, f"/play/x8abcd.m3u8?token={edge.mint('x8abcd')}", token=None
    )

    assert (response.status, "Set-Cookie" in response.headers) == (204, False)


async def test_a_token_in_the_url_or_header_takes_precedence_over_the_cookie(edge):
    url, cookie = f"{PATH}?token={edge.mint('x8abcd')}", "playgate_token=an.old.one"

    assert (await request_auth(edge, url, token=None, Cookie=cookie)).status == 204
    assert (await request_auth(edge, Cookie=cookie)).status == 204
    assert (await request_auth(edge, token=None, Cookie=cookie)).reason == "token-malformed"
    assert (
        await request_auth(edge, url)
    ).reason == "token-conflict"  # one in the URL, one in the header


async def test_a_refusal_has_the_headers_of_the_player_port(edge):
    missing = await request_auth(edge, token=None)
    assert (missing.status, missing.reason) == (401, "token-missing")
    assert missing.headers["Access-Control-Allow-Origin"] == "*"
    assert missing.headers["Cache-Control"] == "no-store"
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    assert edge.lines()[-1]["route"] == "forward-auth"


async def test_a_refusal_keeps_its_status_503(sandbox, server):
    """Only nginx would turn a 503 of the subrequest into a 500."""
    tables = {"state": {"url": server.url}, "tokens": {"bind_on_first_use": True}}
    async with run_test_edge(sandbox, **BEHIND_PROXY, **tables) as edge:
        await server.stop()
        response = await request_auth(edge)

    assert (response.status, response.reason) == (503, "state-unavailable")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token": "x8other"}, "token-video"),
        ({"X_Forwarded_Uri": None}, "path-not-covered"),
        ({"X_Forwarded_Method": None}, "path-not-covered"),
        ({"X_Forwarded_Method": "POST"}, "path-not-covered"),
        ({"X_Forwarded_For": "unknown"}, "viewer-private"),
        ({"uri": "/elsewhere"}, "path-not-covered"),
        ({"uri": "/hls/x8other/../x8abcd/index.m3u8"}, "path-not-covered"),
        ({"uri": "/relay/bytes/abc/def.ts"}, "path-not-covered"),
        ({"X_Original_URI": PATH}, "path-not-covered"),
        ({"X_Original_Path": PATH}, "path-not-covered"),
        ({"X_Original_Method": "GET"}, "path-not-covered"),
        ({"source": "127.0.0.2"}, "peer-untrusted"),
    ],
)
async def test_an_invalid_request_is_refused_with_403(edge, change, reason):
    response = await request_auth(edge, **change)

    assert (response.reason, response.status) == (reason, 403)


@pytest.mark.parametrize("name", ["X-Forwarded-Uri", "X-Forwarded-Method"])
async def test_auth_refuses_the_headers_of_another_front_door(edge, name):
    """If Caddy requested /auth, it would forward a client's own X-Original-URI."""
    headers = {
        "X-Original-URI": PATH,
        "X-Original-Path": PATH,
        "X-Original-Method": "GET",
        "Authorization": f"Bearer {edge.mint('x8abcd')}",
        "X-Forwarded-For": "203.0.113.9",
    }
    assert (await edge.get(f"{edge.operator}/auth", headers=headers)).status == 204
    mixed = await edge.get(f"{edge.operator}/auth", headers=headers | {name: "GET"})

    assert (mixed.status, mixed.reason) == (403, "path-not-covered")
    assert "/forward-auth" in edge.lines()[-1]["detail"]
