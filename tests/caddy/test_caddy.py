"""deploy/Caddyfile with real Caddy: plays, guarded files, and what is told and logged."""

import re
import subprocess
from ipaddress import ip_network

import pytest
import pytest_asyncio
from caddy_server import CADDYFILE, a_caddy
from nginx_server import GUARD, MEDIA
from ports import free_port
from support import ROOT, a_sandbox, an_edge, eventually

PAGE = (ROOT / "docs" / "forward-auth.md").read_text()
PLAYLIST = "/hls/x8abcd/index.m3u8"
SEGMENT = "/hls/x8abcd/0.ts"
BEHIND = {"viewer": {"trusted_proxies": ["127.0.0.1"]}, **GUARD}


@pytest_asyncio.fixture
async def edge(sandbox):
    async with an_edge(sandbox, **BEHIND) as running:
        yield running


@pytest_asyncio.fixture
async def caddy(component, tmp_path, edge):
    ports = str(edge.edge.player), str(edge.edge.operator)
    async with a_caddy(component("caddy"), tmp_path, *ports) as running:
        yield running


async def test_the_short_form_of_the_page_opens_files_to_a_token(component, tmp_path, edge):
    (short,) = re.findall(r"^```\n(forward_auth .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ports = str(edge.edge.player), str(edge.edge.operator)
    text = f"play.example.com {{\n{short}\nroot * /var/www\nfile_server\n}}\n"
    text = text.replace("127.0.0.1:8081", ports[1])
    async with a_caddy(component("caddy"), tmp_path, *ports, text=text) as caddy:
        answer = await caddy.ask(f"{PLAYLIST}?token={edge.mint('x8abcd')}")
        assert (answer.status, answer.body[:7]) == (200, b"#EXTM3U")
        assert (await caddy.ask(SEGMENT)).reason == "token-missing"
        assert (
            await caddy.ask(SEGMENT, Authorization=f"Bearer {edge.mint('x8abcd')}")
        ).status == 200
        other = await caddy.ask(SEGMENT, Authorization=f"Bearer {edge.mint('x8other')}")
        assert other.reason == "token-video"


def test_the_file_is_formatted_as_caddy_would(component):
    ran = subprocess.run(
        [component("caddy"), "fmt", CADDYFILE], capture_output=True, text=True, check=True
    )

    assert ran.stdout == CADDYFILE.read_text()


async def test_a_play_is_redirected_and_the_stream_is_locked_to_whom_caddy_saw(caddy, edge):
    answer = await caddy.ask(
        f"/play/x8demo1.m3u8?token={edge.mint()}", X_Forwarded_For="203.0.113.9"
    )

    assert answer.status == 302
    assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert edge.lines()[-1]["viewer"] == "127.0.0.1"


async def test_a_playlist_opens_with_its_token_and_hands_the_segments_a_cookie(caddy, edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    playlist = await caddy.ask(f"{PLAYLIST}?token={token}")
    assert (playlist.status, playlist.body[:7]) == (200, b"#EXTM3U")
    assert playlist.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert playlist.headers.getall("Content-Type") == ["application/vnd.apple.mpegurl"]
    cookie = playlist.headers["Set-Cookie"]
    assert re.fullmatch(
        rf"playgate_token={token}; Path=/hls/x8abcd/; Max-Age=\d+; HttpOnly", cookie
    )

    segment = await caddy.ask(SEGMENT, Cookie=cookie.partition(";")[0])
    assert (segment.status, segment.body[:1], "Set-Cookie" in segment.headers) == (200, b"G", False)
    assert segment.headers.getall("Content-Type") == ["video/mp2t"]
    ranged = await caddy.ask(SEGMENT, Authorization=f"Bearer {token}", Range="bytes=0-3")
    assert (ranged.status, len(ranged.body)) == (206, 4)


async def test_a_newer_token_in_the_url_is_no_conflict_with_an_older_cookie(caddy, edge):
    old, new = edge.mint("x8abcd"), edge.mint("x8abcd")
    answer = await caddy.ask(f"{PLAYLIST}?token={new}", Cookie=f"playgate_token={old}")

    assert answer.status == 200
    assert new in answer.headers["Set-Cookie"]


async def test_a_refusal_reaches_the_player_as_it_is(caddy, edge):
    cases = [
        ({}, 401, "token-missing"),
        ({"Authorization": f"Bearer {edge.mint('x8other')}"}, 403, "token-video"),
        ({"Authorization": f"Bearer {edge.mint('x8abcd', network=ip_network('203.0.113.0/24'))}"}, 403, "token-network"),
    ]  # fmt: skip
    for headers, status, reason in cases:
        answer = await caddy.ask(PLAYLIST, **headers)

        assert (answer.status, answer.reason) == (status, reason)
        assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]
        assert answer.headers.getall("Cache-Control") == ["no-store"]
        assert "X-Deny-Reason" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.headers["X-Request-Id"] == edge.lines()[-1]["request_id"]


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
async def test_a_path_with_two_readings_opens_nothing_that_the_token_does_not_cover(
    caddy, edge, path
):
    """Caddy matches and serves by a path that it has cleaned; what it tells the edge is raw."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{caddy.port}", "Connection: close"]
    answers = []
    for token in (edge.mint("x8other"), edge.mint("x8abcd")):
        head = [*lines, f"Authorization: Bearer {token}", "", ""]
        answers.append(await caddy.send("\r\n".join(head).encode()))

    segment = (MEDIA / "0.ts").read_bytes()
    assert segment not in answers[0]
    assert not any(b"nobody's" in answer for answer in answers)


async def test_what_a_client_claims_about_itself_counts_for_nothing(caddy, edge):
    other = f"Bearer {edge.mint('x8other')}"
    forged = {"X_Forwarded_Uri": "/hls/x8other/0.ts", "X_Forwarded_Method": "OPTIONS"}
    assert (await caddy.ask(SEGMENT, Authorization=other, **forged)).reason == "token-video"

    of_nginx = {"X_Original_URI": "/hls/x8other/0.ts", "X_Original_Path": "/hls/x8other/0.ts"}
    answer = await caddy.ask(SEGMENT, Authorization=other, **of_nginx)
    assert answer.reason == "path-not-covered"
    assert "/auth" in edge.lines()[-1]["detail"]

    here_only = f"Bearer {edge.mint('x8abcd', network=ip_network('203.0.113.0/24'))}"
    claim = {"X_Forwarded_For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    assert (await caddy.ask(SEGMENT, Authorization=here_only, **claim)).reason == "token-network"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPFIND"])
async def test_other_methods_open_nothing(caddy, edge, method):
    answer = await caddy.ask(SEGMENT, method, Authorization=f"Bearer {edge.mint('x8abcd')}")

    assert (answer.status, answer.reason) == (403, "path-not-covered")


async def test_head_and_preflight(caddy, edge):
    token = f"Bearer {edge.mint('x8abcd')}"
    head = await caddy.ask(SEGMENT, "HEAD", Authorization=token)
    assert (head.status, head.body) == (200, b"")

    preflight = await caddy.ask(SEGMENT, "OPTIONS", Origin="https://www.example.com")
    assert (preflight.status, preflight.body) == (204, b"")
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_operator_port_is_not_to_be_reached(caddy):
    for path in ("/auth", "/forward-auth", "/metrics", "/healthz", "/readyz", "/tokens"):
        answer = await caddy.ask(path)
        assert (answer.body, answer.reason) == (b"", None)


MANGLED = [  # by programs that rewrite links
    "/relay/playlist/TOKEN/x.m3u8",
    "/RELAY/playlist/TOKEN/x.m3u8",
    "/play/x8demo1.m3u8%3ftoken=TOKEN",
    "/play/x8demo1.m3u8;token=TOKEN",
    "/play/TOKEN",
    "/hls/x8abcd/TOKEN/0.ts",
    "//relay/playlist/TOKEN",
    "/play/%6b8demoPrivateKnownToYou.m3u8",
    "/hls/xk8demoPrivateKnownToYou",
]


async def test_one_viewer_cannot_have_edges_left_out_for_others(caddy, edge):
    """A body that is no body fails at the edge, which is no failure of the edge."""
    head = f"GET /play/x HTTP/1.1\r\nHost: 127.0.0.1:{caddy.port}\r\n"
    broken = head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nZZ\r\n\r\n"
    await caddy.send(broken.encode())

    assert (await caddy.ask(f"/play/x8demo1.m3u8?token={edge.mint()}")).status == 302


async def test_no_token_and_no_private_id_gets_into_caddy_s_log(component, tmp_path):
    async with a_sandbox() as sandbox, an_edge(sandbox, **BEHIND) as edge:
        token, ports = edge.mint("*"), (str(edge.edge.player), str(edge.edge.operator))
        async with a_caddy(component("caddy"), tmp_path, *ports) as caddy:
            for path in (PLAYLIST, "/play/x8demo1.m3u8", "/play/k8demoPrivateKnownToYou.m3u8"):
                await caddy.ask(
                    f"{path}?token={token}", Referer=f"https://a.example/?token={token}"
                )
            await caddy.ask(SEGMENT, Authorization=f"Bearer {token}")
            await caddy.ask(SEGMENT, Cookie=f"playgate_token={token}")
            for path in MANGLED:
                await caddy.ask(path.replace("TOKEN", token), **{"X-Token": token, "Origin": token})
            await eventually(lambda: caddy.log.count('"status"') >= 5 + len(MANGLED))
            told = caddy.log
        async with a_caddy(component("caddy"), tmp_path / "down", *down_ports()) as caddy:
            for path in (PLAYLIST, "/play/x8demo1.m3u8"):
                answer = await caddy.ask(
                    f"{path}?token={token}", Referer=f"https://a.example/?token={token}"
                )
                assert (answer.status, answer.reason) == (503, "edge-unreachable")
            await eventually(lambda: caddy.log.count('"status":503') == 2)
            told += caddy.log
    assert token not in told and token.split(".")[2] not in told
    assert "k8demo" not in told
    assert "/hls/x8abcd/…" in told and "/play/x8demo1.m3u8…" in told


def down_ports() -> tuple[str, str]:
    return f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/", "not-found"), ("/play/x8demo1.m3u8", "token-missing"), ("/hls/x8abcd/index.m3u8", "token-missing")],
)  # fmt: skip
async def test_a_person_in_a_browser_gets_a_page_and_a_player_json(caddy, path, reason):
    page = await caddy.ask(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    problem = await caddy.ask(path, Accept="*/*")

    assert page.headers["Content-Type"].startswith("text/html") and reason.encode() in page.body
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert {page.headers["X-Deny-Reason"], problem.headers["X-Deny-Reason"]} == {reason}
