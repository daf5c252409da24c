"""/forward-auth as Caddy's forward_auth and Traefik's ForwardAuth speak it."""

import pytest
from support import an_edge

PATH = "/hls/x8abcd/index.m3u8"
BEHIND = {
    "viewer": {"trusted_proxies": ["127.0.0.1"]},
    "auth": {"protected_paths": ["/hls/(?P<video>[^/]+)/.+", r"/play/(?P<video>[^/]+)\.m3u8"]},
}


@pytest.fixture
async def edge(sandbox):
    async with an_edge(sandbox, **BEHIND) as running:
        yield running


async def ask(edge, uri=PATH, *, token="x8abcd", source="127.0.0.1", **headers):
    """Ask as Traefik does, which sends all of these."""
    given = {
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "play.example.com",
        "X-Forwarded-Uri": uri,
        "X-Forwarded-For": "203.0.113.9",
    }
    if token is not None:
        given["Authorization"] = f"Bearer {edge.mint(token)}"
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await edge.get(
        f"{edge.operator}/forward-auth",
        headers={name: value for name, value in given.items() if value is not None},
        source=source,
    )


async def test_a_token_in_the_url_is_a_yes_and_a_cookie_for_the_files_beside_it(edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    answer = await ask(edge, f"{PATH}?token={token}", token=None)

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["X-Playgate-Video"] == "x8abcd"
    assert answer.headers["X-Playgate-Subject"] == "viewer-7"
    carried, path, life, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert (carried, path) == (f"playgate_token={token}", "Path=/hls/x8abcd/")
    assert 290 <= int(life.removeprefix("Max-Age=")) <= 300  # no longer than the token
    assert attributes == ["HttpOnly", "Secure", "SameSite=None"]
    plain = await ask(edge, f"{PATH}?token={token}", token=None, X_Forwarded_Proto="http")
    assert plain.headers["Set-Cookie"].endswith("; HttpOnly")


async def test_a_token_elsewhere_needs_no_cookie(edge):
    by_header = await ask(edge)
    by_header_and_nothing = await ask(edge, f"{PATH}?token=")
    by_cookie = await ask(edge, token=None, Cookie=f"playgate_token={edge.mint('x8abcd')}")

    for answer in (by_header, by_header_and_nothing, by_cookie):
        assert (answer.status, "Set-Cookie" in answer.headers) == (204, False)


async def test_a_path_without_a_folder_of_the_video_s_gets_no_cookie(edge):
    """It would come along to other videos, and to /play itself, where it is a conflict."""
    answer = await ask(edge, f"/play/x8abcd.m3u8?token={edge.mint('x8abcd')}", token=None)

    assert (answer.status, "Set-Cookie" in answer.headers) == (204, False)


async def test_what_a_player_brings_is_newer_than_a_cookie_of_an_earlier_link(edge):
    url, old = f"{PATH}?token={edge.mint('x8abcd')}", "playgate_token=an.old.one"

    assert (await ask(edge, url, token=None, Cookie=old)).status == 204
    assert (await ask(edge, Cookie=old)).status == 204
    assert (await ask(edge, token=None, Cookie=old)).reason == "token-malformed"
    assert (await ask(edge, url)).reason == "token-conflict"  # two that it brings


async def test_a_refusal_is_the_players_status_and_headers_and_all(edge):
    missing = await ask(edge, token=None)
    assert (missing.status, missing.reason) == (401, "token-missing")
    assert missing.headers["Access-Control-Allow-Origin"] == "*"
    assert missing.headers["Cache-Control"] == "no-store"
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    assert edge.lines()[-1]["route"] == "forward-auth"


async def test_a_refusal_keeps_its_status_since_nobody_makes_500_of_it(sandbox, server):
    tables = {"state": {"url": server.url}, "tokens": {"bind_on_first_use": True}}
    async with an_edge(sandbox, **BEHIND, **tables) as edge:
        await server.stop()
        answer = await ask(edge)

    assert (answer.status, answer.reason) == (503, "state-unavailable")


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
async def test_what_is_refused(edge, change, reason):
    answer = await ask(edge, **change)

    assert (answer.reason, answer.status) == (reason, 403)


@pytest.mark.parametrize("name", ["X-Forwarded-Uri", "X-Forwarded-Method"])
async def test_the_headers_of_one_front_door_do_not_count_at_the_other(edge, name):
    """Caddy at /auth would let a client's own X-Original-URI through."""
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
