"""deploy/Caddyfile with real Caddy: plays, guarded files, refusals and logs."""

import re
import subprocess
from ipaddress import ip_network

import pytest
import pytest_asyncio
from caddy_server import CADDYFILE, run_caddy
from nginx_server import GUARD, MEDIA
from ports import free_port
from support import ROOT, run_test_edge, run_test_sandbox, wait_until

PAGE = (ROOT / "docs" / "forward-auth.md").read_text()
PLAYLIST = "/hls/x8abcd/index.m3u8"
SEGMENT = "/hls/x8abcd/0.ts"
BEHIND = {"viewer": {"trusted_proxies": ["127.0.0.1"]}, **GUARD}


@pytest_asyncio.fixture
async def edge(sandbox):
    async with run_test_edge(sandbox, **BEHIND) as running:
        yield running


@pytest_asyncio.fixture
async def caddy(component, tmp_path, edge):
    ports = str(edge.edge.player), str(edge.edge.operator)
    async with run_caddy(component("caddy"), tmp_path, *ports) as running:
        yield running


@pytest.mark.smoke
async def test_the_short_caddyfile_of_the_docs_guards_files(component, tmp_path, edge):
    (short_form,) = re.findall(r"^```\n(forward_auth .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ports = str(edge.edge.player), str(edge.edge.operator)
    text = f"play.example.com {{\n{short_form}\nroot * /var/www\nfile_server\n}}\n"
    text = text.replace("127.0.0.1:8081", ports[1])
    async with run_caddy(component("caddy"), tmp_path, *ports, text=text) as caddy:
        response = await caddy.request(f"{PLAYLIST}?token={edge.mint('x8abcd')}")
        assert (response.status, response.body[:7]) == (200, b"#EXTM3U")
        assert (await caddy.request(SEGMENT)).reason == "token-missing"
        assert (
            await caddy.request(SEGMENT, Authorization=f"Bearer {edge.mint('x8abcd')}")
        ).status == 200
        other = await caddy.request(SEGMENT, Authorization=f"Bearer {edge.mint('x8other')}")
        assert other.reason == "token-video"


def test_the_caddyfile_is_formatted_as_caddy_fmt_does(component):
    result = subprocess.run(
        [component("caddy"), "fmt", CADDYFILE], capture_output=True, text=True, check=True
    )

    assert result.stdout == CADDYFILE.read_text()


async def test_a_play_is_redirected_with_a_stream_locked_to_the_clients_address(caddy, edge):
    response = await caddy.request(
        f"/play/x8demo1.m3u8?token={edge.mint()}", X_Forwarded_For="203.0.113.9"
    )

    assert response.status == 302
    assert response.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert edge.lines()[-1]["viewer"] == "127.0.0.1"


async def test_a_playlist_needs_its_token_and_sets_a_cookie_for_the_segments(caddy, edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    playlist = await caddy.request(f"{PLAYLIST}?token={token}")
    assert (playlist.status, playlist.body[:7]) == (200, b"#EXTM3U")
    assert playlist.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert playlist.headers.getall("Content-Type") == ["application/vnd.apple.mpegurl"]
    cookie = playlist.headers["Set-Cookie"]
    assert re.fullmatch(
        rf"playgate_token={token}; Path=/hls/x8abcd/; Max-Age=\d+; HttpOnly", cookie
    )

    segment = await caddy.request(SEGMENT, Cookie=cookie.partition(";")[0])
    assert (segment.status, segment.body[:1], "Set-Cookie" in segment.headers) == (200, b"G", False)
    assert segment.headers.getall("Content-Type") == ["video/mp2t"]
    ranged = await caddy.request(SEGMENT, Authorization=f"Bearer {token}", Range="bytes=0-3")
    assert (ranged.status, len(ranged.body)) == (206, 4)


async def test_a_newer_token_in_the_url_replaces_an_older_cookie(caddy, edge):
    old, new = edge.mint("x8abcd"), edge.mint("x8abcd")
    response = await caddy.request(f"{PLAYLIST}?token={new}", Cookie=f"playgate_token={old}")

    assert response.status == 200
    assert new in response.headers["Set-Cookie"]


async def test_a_refusal_of_the_edge_is_passed_on_unchanged(caddy, edge):
    cases = [
        ({}, 401, "token-missing"),
        ({"Authorization": f"Bearer {edge.mint('x8other')}"}, 403, "token-video"),
        ({"Authorization": f"Bearer {edge.mint('x8abcd', network=ip_network('203.0.113.0/24'))}"}, 403, "token-network"),
    ]  # fmt: skip
    for headers, status, reason in cases:
        response = await caddy.request(PLAYLIST, **headers)

        assert (response.status, response.reason) == (status, reason)
        assert response.headers.getall("Access-Control-Allow-Origin") == ["*"]
        assert response.headers.getall("Cache-Control") == ["no-store"]
        assert "X-Deny-Reason" in response.headers["Access-Control-Expose-Headers"]
        assert response.headers["Content-Type"].startswith("application/problem+json")
        assert response.headers["X-Request-Id"] == edge.lines()[-1]["request_id"]


@pytest.mark.parametrize(
    "path",
    [
        "/hls/x8abcd/../../secret",
        "/hls/x8abcd/%2e%2e/%2e%2e/secret",
        "/hls/x8abcd/..%2f..%2fsecret",
        "/hls/x8other/../x8abcd/0.ts",
        "/hls/x8other/%2e%2e/x8abcd/0.ts",
        "/hls//x8abcd/0.ts",
        "/hls/x8abcd//0.ts",
        "/hls/x8abcd/./0.ts",
        "/hls/x8abcd/0.ts;x",
        "/hls/x8abcd%2f0.ts",
        "/HLS/x8abcd/0.ts",
        "/hls/x8abcd/0.ts%00",
        "/hls/x8abcd/%252e%252e/secret",
        "//hls/x8abcd/0.ts",
        "/./hls/x8abcd/0.ts",
        "/x/../hls/x8abcd/0.ts",
        "http://elsewhere/hls/x8abcd/0.ts",
    ],
)
async def test_an_ambiguous_path_gives_no_access_beyond_the_tokens_video(caddy, edge, path):
    """Caddy matches and serves a normalized path, but forwards the raw path to the edge."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{caddy.port}", "Connection: close"]
    responses = []
    for token in (edge.mint("x8other"), edge.mint("x8abcd")):
        request = [*lines, f"Authorization: Bearer {token}", "", ""]
        responses.append(await caddy.send("\r\n".join(request).encode()))

    segment = (MEDIA / "0.ts").read_bytes()
    assert segment not in responses[0]
    assert not any(b"nobody's" in response for response in responses)


async def test_forged_forwarding_headers_are_ignored(caddy, edge):
    other = f"Bearer {edge.mint('x8other')}"
    forged = {"X_Forwarded_Uri": "/hls/x8other/0.ts", "X_Forwarded_Method": "OPTIONS"}
    assert (await caddy.request(SEGMENT, Authorization=other, **forged)).reason == "token-video"

    nginx_headers = {"X_Original_URI": "/hls/x8other/0.ts", "X_Original_Path": "/hls/x8other/0.ts"}
    response = await caddy.request(SEGMENT, Authorization=other, **nginx_headers)
    assert response.reason == "path-not-covered"
    assert "/auth" in edge.lines()[-1]["detail"]

    elsewhere_only = f"Bearer {edge.mint('x8abcd', network=ip_network('203.0.113.0/24'))}"
    forged_address = {"X_Forwarded_For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    assert (
        await caddy.request(SEGMENT, Authorization=elsewhere_only, **forged_address)
    ).reason == "token-network"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPFIND"])
async def test_only_reading_methods_are_allowed(caddy, edge, method):
    response = await caddy.request(SEGMENT, method, Authorization=f"Bearer {edge.mint('x8abcd')}")

    assert (response.status, response.reason) == (403, "path-not-covered")


async def test_head_and_preflight_requests_succeed(caddy, edge):
    token = f"Bearer {edge.mint('x8abcd')}"
    head = await caddy.request(SEGMENT, "HEAD", Authorization=token)
    assert (head.status, head.body) == (200, b"")

    preflight = await caddy.request(SEGMENT, "OPTIONS", Origin="https://www.example.com")
    assert (preflight.status, preflight.body) == (204, b"")
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_operator_port_is_unreachable_through_caddy(caddy):
    for path in ("/auth", "/forward-auth", "/metrics", "/healthz", "/readyz", "/tokens"):
        response = await caddy.request(path)
        assert (response.body, response.reason) == (b"", None)


MANGLED_PATHS = [  # as programs that rewrite links produce them
    "/relay/TOKEN/playlist.m3u8",
    "/RELAY/playlist/TOKEN/x.m3u8",
    "/play/x8demo1.m3u8%3ftoken=TOKEN",
    "/play/x8demo1.m3u8;token=TOKEN",
    "/play/TOKEN",
    "/hls/x8abcd/TOKEN/0.ts",
    "//relay/TOKEN/a",
    "/play/%6b8demoPrivateKnownToYou.m3u8",
    "/hls/xk8demoPrivateKnownToYou",
]


async def test_a_malformed_request_does_not_mark_the_edge_as_down(caddy, edge):
    """A malformed request body fails at the edge, and Caddy must not count that as an edge failure.

    Otherwise one viewer could take edges out of service for all others.
    """
    headers = f"GET /play/x HTTP/1.1\r\nHost: 127.0.0.1:{caddy.port}\r\n"
    broken = headers + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nZZ\r\n\r\n"
    await caddy.send(broken.encode())

    assert (await caddy.request(f"/play/x8demo1.m3u8?token={edge.mint()}")).status == 302


async def test_no_token_and_no_private_video_id_is_logged(component, tmp_path):
    async with run_test_sandbox() as sandbox, run_test_edge(sandbox, **BEHIND) as edge:
        token, ports = edge.mint("*"), (str(edge.edge.player), str(edge.edge.operator))
        async with run_caddy(component("caddy"), tmp_path, *ports) as caddy:
            for path in (PLAYLIST, "/play/x8demo1.m3u8", "/play/k8demoPrivateKnownToYou.m3u8"):
                await caddy.request(
                    f"{path}?token={token}", Referer=f"https://a.example/?token={token}"
                )
            await caddy.request(SEGMENT, Authorization=f"Bearer {token}")
            await caddy.request(SEGMENT, Cookie=f"playgate_token={token}")
            for path in MANGLED_PATHS:
                await caddy.request(
                    path.replace("TOKEN", token), **{"X-Token": token, "Origin": token}
                )
            await wait_until(lambda: caddy.log.count('"status"') >= 5 + len(MANGLED_PATHS))
            log = caddy.log
        async with run_caddy(
            component("caddy"), tmp_path / "down", *pick_closed_addresses()
        ) as caddy:
            for path in (PLAYLIST, "/play/x8demo1.m3u8"):
                response = await caddy.request(
                    f"{path}?token={token}", Referer=f"https://a.example/?token={token}"
                )
                assert (response.status, response.reason) == (503, "edge-unreachable")
            await wait_until(lambda: caddy.log.count('"status":503') == 2)
            log += caddy.log
    assert token not in log and token.split(".")[2] not in log
    assert "k8demo" not in log
    assert "/hls/x8abcd/…" in log and "/play/x8demo1.m3u8…" in log


def pick_closed_addresses() -> tuple[str, str]:
    return f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/", "not-found"), ("/play/x8demo1.m3u8", "token-missing"), ("/hls/x8abcd/index.m3u8", "token-missing")],
)  # fmt: skip
async def test_a_browser_gets_an_error_page_and_a_player_gets_json(caddy, path, reason):
    page = await caddy.request(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    problem = await caddy.request(path, Accept="*/*")

    assert page.headers["Content-Type"].startswith("text/html") and reason.encode() in page.body
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert {page.headers["X-Deny-Reason"], problem.headers["X-Deny-Reason"]} == {reason}
