"""deploy/nginx.conf on real nginx: what players get through it, and what it must never do."""

import asyncio
import contextlib
import os
import re
import subprocess
from ipaddress import ip_network

import pytest
from nginx_server import BEHIND, CONF, MEDIA, an_nginx
from ports import free_port
from support import an_edge, eventually

HLS = "/hls/x8abcd/index.m3u8"


def test_the_file_is_valid_as_it_stands(component, tmp_path):
    """But for its script's folder; and only root may open the log files that it names."""
    program, conf = component("nginx"), tmp_path / "nginx.conf"
    script = CONF.parent / "relay_headers.js"
    text = CONF.read_text().replace("/etc/nginx/relay_headers.js", str(script))
    if os.geteuid() != 0:
        text = text.replace("/var/log/nginx", str(tmp_path))
        text = text.replace("/run/nginx.pid", str(tmp_path / "pid"))
    conf.write_text(text)
    checked = subprocess.run(
        [program, "-t", "-c", conf], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


def locations(text: str) -> list[str]:
    """Return the body of every location, comments removed."""
    text = re.sub(r"#.*", "", text)
    found = []
    for match in re.finditer(r"location[^{]*\{", text):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[match.end() : end])
    return found


def test_no_location_has_both_auth_request_and_return():
    """nginx serves such a location without asking anybody."""
    guarded = [body for body in locations(CONF.read_text()) if re.search(r"\bauth_request\s", body)]

    assert len(guarded) == 2
    for body in guarded:
        assert not re.search(r"\b(return|rewrite|if|try_files)\b", body)
        # Where such a location passes on, then only to what the edge has named.
        assert re.findall(r"\bproxy_pass (.+?);", body) in ([], ["$relay_target"])


def test_wherever_a_request_may_have_a_token_errors_below_alert_are_not_logged():
    server = CONF.read_text().partition("server {")[2]

    assert re.findall(r"error_log \S+ (\w+);", re.sub(r"#.*", "", server)) == ["alert"]


# The plays: (a) in the file.


async def test_a_play_goes_through_with_the_viewers_address(behind_nginx):
    nginx, edge = behind_nginx
    answer = await edge.get(
        f"{nginx.origin}/play/x8demo1.m3u8?token={edge.mint()}", source="127.0.0.7"
    )

    assert answer.status == 302
    assert (await edge.get(answer.location, source="127.0.0.7")).status == 200
    assert (await edge.get(answer.location, source="127.0.0.1")).status == 403


async def test_a_client_behind_nginx_cannot_name_its_own_address(behind_nginx):
    nginx, edge = behind_nginx
    headers = {"X-Forwarded-For": "127.0.0.9", "X-Real-IP": "127.0.0.9", "X-Request-Id": "mine"}
    answer = await edge.get(
        f"{nginx.origin}/play/x8demo1.m3u8?token={edge.mint()}", source="127.0.0.7", headers=headers
    )

    assert (await edge.get(answer.location, source="127.0.0.7")).status == 200
    assert answer.headers["X-Request-Id"] != "mine"


@pytest.mark.parametrize("carrier", ["header", "cookie"])
async def test_the_other_carriers_of_a_token_come_through(behind_nginx, carrier):
    nginx, edge = behind_nginx
    line = {
        "header": f"Authorization: Bearer {edge.mint()}",
        "cookie": f"Cookie: playgate_token={edge.mint()}",
    }[carrier]

    assert (await nginx.ask("/play/x8demo1.m3u8", line))[0] == 302


async def test_a_refusal_comes_through_as_it_is(behind_nginx):
    nginx, edge = behind_nginx
    answer = await edge.get(f"{nginx.origin}/play/x8null.m3u8?token={edge.mint('x8null')}")

    assert (answer.status, answer.reason) == (404, "stream-unavailable")
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/", "not-found"), ("/play/x8demo1.m3u8", "token-missing"), ("/play/x8demo1.mp4", "token-missing")],
)  # fmt: skip
async def test_a_person_in_a_browser_gets_a_page_and_a_player_json(behind_nginx, path, reason):
    nginx, _ = behind_nginx
    _, page = await nginx.ask(path, BROWSER)
    _, problem = await nginx.ask(path, "Accept: */*")

    assert b"Content-Type: text/html" in page and reason.encode() in page.partition(b"\r\n\r\n")[2]
    assert b"application/problem+json" in problem and b"<html" not in problem
    for accept in ("text/html;q=0", "application/json, text/html;q=0.5"):
        _, problem = await nginx.ask(path, f"Accept: {accept}")
        assert b"application/problem+json" in problem, accept


@pytest.mark.parametrize(
    "path",
    ["/auth", "/metrics", "/tokens", "/readyz", "/healthz", "/_playgate/auth", "/watch/x8demo1"],
)
async def test_the_operator_port_is_not_to_be_reached(behind_nginx, path):
    nginx, _ = behind_nginx

    assert (await nginx.ask(path))[0] == 404
    assert (await nginx.ask(path, method="POST"))[0] in {404, 405}


async def test_a_crowd_of_headers_does_not_break_a_play(behind_nginx):
    nginx, edge = behind_nginx
    crowd = [f"X-H{n}: {n}" for n in range(200)]

    assert (await nginx.ask(f"/play/x8demo1.m3u8?token={edge.mint()}", *crowd))[0] == 302


async def test_an_absolute_form_request_line_is_the_same_request(behind_nginx):
    nginx, edge = behind_nginx

    assert (await nginx.ask(f"http://evil.example/play/x8demo1.m3u8?token={edge.mint()}"))[0] == 302
    assert (await nginx.ask(f"http://evil.example{HLS}?token={edge.mint('x8abcd')}"))[0] == 200


# The guarded files: (b) in the file.


async def test_a_token_opens_the_files_of_its_video(behind_nginx):
    nginx, edge = behind_nginx
    playlist = await edge.get(f"{nginx.origin}{HLS}?token={edge.mint('x8abcd')}")

    assert playlist.status == 200
    assert playlist.body.startswith(b"#EXTM3U")
    cookie = playlist.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "Path=/hls/x8abcd/" in cookie
    segment = await edge.get(
        f"{nginx.origin}/hls/x8abcd/0.ts", headers={"Cookie": cookie.split(";")[0]}
    )
    assert (segment.status, segment.body) == (200, (MEDIA / "0.ts").read_bytes())


@pytest.mark.parametrize(
    "extra",
    [
        "TOKEN=evil;Domain=example.com;Path=/",
        "Token=evil",
        "token=",
        "xtoken=evil",
        "token%3dx=evil",
    ],
)
async def test_nothing_but_the_token_gets_into_the_cookie(behind_nginx, extra):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd")
    for query in (f"{extra}&token={token}", f"token={token}&{extra}"):
        status, answer = await nginx.ask(f"{HLS}?{query}")
        cookies = re.findall(rb"Set-Cookie: (.*)\r\n", answer)

        assert status == 200
        assert cookies == [f"playgate_token={token}; Path=/hls/x8abcd/; HttpOnly".encode()]


async def test_an_encoded_token_is_read_and_leaves_no_cookie_that_nobody_can_use(behind_nginx):
    nginx, edge = behind_nginx
    encoded = edge.mint("x8abcd").replace(".", "%2E")
    status, answer = await nginx.ask(f"{HLS}?token={encoded}")

    assert status == 200
    assert b"Set-Cookie" not in answer


async def test_a_file_that_is_not_there_is_404_that_a_page_may_read(behind_nginx):
    nginx, edge = behind_nginx
    answer = await edge.get(f"{nginx.origin}/hls/x8abcd/99.ts?token={edge.mint('x8abcd')}")

    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (404, "*")
    assert "Set-Cookie" not in answer.headers


async def test_a_newer_link_is_not_held_against_the_older_cookie(behind_nginx):
    nginx, edge = behind_nginx
    old, new = edge.mint("x8abcd", ttl=100), edge.mint("x8abcd", ttl=101)
    answer = await edge.get(
        f"{nginx.origin}{HLS}?token={new}", headers={"Cookie": f"playgate_token={old}"}
    )

    assert answer.status == 200
    assert new in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        (None, 401, "token-missing"),
        ("nonsense", 401, "token-malformed"),
        ("x8other", 403, "token-video"),
    ],
)
async def test_a_refusal_has_its_status_and_its_reason(behind_nginx, token, status, reason):
    nginx, edge = behind_nginx
    query = (
        "" if token is None else f"?token={edge.mint(token) if token.startswith('x8') else token}"
    )
    answer = await edge.get(f"{nginx.origin}{HLS}{query}")

    assert (answer.status, answer.reason) == (status, reason)
    assert answer.json["reason"] == reason
    assert answer.headers.get("WWW-Authenticate", "").startswith("Bearer") is (status == 401)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in answer.headers


async def test_the_token_may_be_bound_to_the_viewers_network(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd", network=ip_network("127.0.0.8/32"))
    url = f"{nginx.origin}{HLS}?token={token}"

    assert (await edge.get(url, source="127.0.0.8")).status == 200
    forged = {"X-Forwarded-For": "127.0.0.8", "X-Original-URI": HLS}
    assert (await edge.get(url, source="127.0.0.9", headers=forged)).reason == "token-network"


async def test_range_and_conditional_requests_reach_the_file_and_not_the_edge(behind_nginx):
    nginx, edge = behind_nginx
    url = f"{nginx.origin}/hls/x8abcd/0.ts?token={edge.mint('x8abcd')}"
    whole = await edge.get(url)

    part = await edge.get(url, headers={"Range": "bytes=0-187"})
    assert (part.status, len(part.body)) == (206, 188)
    for headers in (
        {"If-None-Match": whole.headers["ETag"]},
        {"If-Modified-Since": whole.headers["Last-Modified"]},
    ):
        assert (await edge.get(url, headers=headers)).status == 304
    assert (
        await edge.get(
            url.split("?", maxsplit=1)[0], headers={"If-None-Match": "*", "Range": "bytes=0-"}
        )
    ).status == 401


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("POST", 403), ("PUT", 403), ("DELETE", 403), ("BREW", 403)],
)
async def test_only_reading_methods_are_allowed(behind_nginx, method, status):
    nginx, edge = behind_nginx

    assert (await nginx.ask(f"{HLS}?token={edge.mint('x8abcd')}", method=method))[0] == status


async def test_a_preflight_is_answered_with_or_without_a_token_and_without_content(behind_nginx):
    nginx, edge = behind_nginx
    for query in ("", f"?token={edge.mint('x8abcd')}"):
        status, answer = await nginx.ask(
            HLS + query, "Origin: https://example.com", method="OPTIONS"
        )

        assert status == 204
        assert b"Access-Control-Allow-Origin: *" in answer
        assert b"#EXTM3U" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/hls/x8other/../x8abcd/index.m3u8",
        "/hls/x8other/%2e%2e/x8abcd/index.m3u8",
        "/hls/x8other/..%2fx8abcd/index.m3u8",
        "/hls/x8other/%252e%252e/x8abcd/index.m3u8",
        "/hls//x8abcd/index.m3u8",
        "/hls/./x8abcd/index.m3u8",
        "/hls/x8abcd/./index.m3u8",
        "/hls/x8abcd%2findex.m3u8",
        "/hls/x8abcd/index.m3u8;x",
        "/hls/x8abcd/index.m3u8%23",
        "/hls/x8abcd/index.m3u8%00",
        "/hls/x8abcd/index.m3u8%0d%0aX-Forwarded-For:%20127.0.0.8",
        "/hls/x8abcd/%0d%0aX-Original-Path:%20/hls/x8abcd/index.m3u8",
        "/hls/x8abcd/index.m3u8%0a",
        "/hls/x8abcd\\index.m3u8",
        "/hls/x8abcd/%c0%ae%c0%ae/x",
        "/hls/x8abcd/\xe9",
        "/hls/X8ABCD/index.m3u8",
        "/hls/",
        "/hls/x8abcd/",
        "/hls/?x=/hls/x8abcd/index.m3u8",
    ],
)
async def test_a_path_in_disguise_gets_nothing(behind_nginx, path):
    """With a token for x8other, and with one for x8abcd, whatever nginx makes of the path."""
    nginx, edge = behind_nginx
    for video in ("x8other", "x8abcd"):
        separator = "&" if "?" in path else "?"
        status, answer = await nginx.ask(f"{path}{separator}token={edge.mint(video)}")

        assert status in {400, 403, 404}, answer
        assert b"#EXTM3U" not in answer


@pytest.mark.parametrize(
    "lines",
    [
        ["Authorization: Bearer \x01"],
        ["Cookie: a=\x01b"],
        ["Cookie: a=" + "b" * 7000],
        ["X-Original-URI: /hls/x8abcd/index.m3u8", "X-Original-Path: /hls/x8abcd/index.m3u8"],
        ["X_Original_URI: /hls/x8abcd/index.m3u8", "X_Forwarded_For: 127.0.0.8"],
        ["X-Forwarded-Uri: /hls/x8abcd/index.m3u8", "X-Forwarded-Method: GET"],
        ["User-Agent: kube-probe/1.29"],
        ["User-Agent: GoogleHC/1.0"],
        [f"X-H{n}: \x01" for n in range(90)],
    ],
)
async def test_no_header_of_the_clients_opens_or_breaks_anything(behind_nginx, lines):
    nginx, edge = behind_nginx

    assert (await nginx.ask(HLS, *lines))[0] == 401
    good = [line for line in lines if not line.startswith("Authorization")]
    assert (await nginx.ask(f"{HLS}?token={edge.mint('x8abcd')}", *good))[0] == 200


async def test_a_request_line_that_is_too_long_is_nginxs_own_414(behind_nginx):
    nginx, _ = behind_nginx

    assert (await nginx.ask(f"{HLS}?token={'a' * 9000}"))[0] == 414


# Logs


@pytest.mark.parametrize("path", ["/play/x8demo1.m3u8", "/hls/x8abcd/0.ts", "/relay/bytes/a/b", "/relay/playlist/a.m3u8", "/stream-urls"])  # fmt: skip
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_body_is_neither_passed_on_nor_announced(component, tmp_path, path, framing):
    """An edge that waits for a body takes the next request of the connection for it."""
    heads: list[bytes] = []

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    body = b"hello" if "Length" in framing else b"5\r\nhello\r\n0\r\n\r\n"
    edge = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = edge.sockets[0].getsockname()[1]
    async with an_nginx(component("nginx"), tmp_path, [port], [port]) as nginx:
        for method in ("GET", "POST"):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n"
            await nginx.send(head.encode() + body)
    edge.close()
    assert heads
    for head in heads:
        assert b"content-length" not in head.lower()
        assert b"transfer-encoding" not in head.lower()
        assert head.startswith((b"GET ", b"POST ")), "the body was taken for a request"


async def test_no_token_is_ever_logged(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd")
    secret = token.split(".")[2]
    for path in (
        f"{HLS}?token={token}",
        f"/play/x8abcd.m3u8?token={token}",
        f"/hls/x8other/1?token={token}",
    ):
        await nginx.ask(
            path, f"Referer: https://example.com/?token={token}", f"Cookie: playgate_token={token}"
        )
    for path in ("/nowhere", "/play/x8abcd.m3u8", HLS):
        big = f"POST {path}?token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n"
        assert (await nginx.send(big.encode() + b"x" * 5000))[0] == 413
    await nginx.ask("/play/kPrivateIdOfSomebody.m3u8")
    await nginx.ask("/hls/kPrivateIdOfSomebody/index.m3u8")
    for path in (
        f"/play/x8abcd.m3u8%3Ftoken={token}", f"/play/x8abcd.m3u8&token={token}", f"/play/{token}",
        f"/{token}", f"/hls/x8abcd/{token}", f"/hls/x8abcd/0.ts%3ftoken={token}", f"/nowhere/{token}",
        "/Play/kPrivateIdOfSomebody", "/play/x/kPrivateIdOfSomebody", "/kPrivateIdOfSomebody.m3u8",
        "/play/%20kPrivateIdOfSomebody", "/embed/video/kPrivateIdOfSomebody",
    ):  # fmt: skip
        await nginx.ask(path)

    logs = nginx.access_log + nginx.error_log + edge.log.getvalue()
    assert HLS in nginx.access_log and "token-video" in nginx.access_log
    assert secret not in logs
    assert "PrivateIdOfSomebody" not in logs


async def test_with_one_edge_down_a_refusal_stays_what_it_is(component, sandbox, tmp_path):
    """Every other request fails over, and nginx's $upstream_status then names both answers."""
    program = component("nginx")
    async with an_edge(sandbox, **BEHIND) as edge:
        players = [free_port(), edge.edge.player.port]
        operators = [free_port(), edge.edge.operator.port]
        async with an_nginx(program, tmp_path, players, operators) as nginx:
            answers = [await edge.get(f"{nginx.origin}{HLS}") for _ in range(6)]
            refused = [
                await edge.get(f"{nginx.origin}{HLS}?token={edge.mint('x8other')}")
                for _ in range(6)
            ]

    assert {(answer.status, answer.reason) for answer in answers} == {(401, "token-missing")}
    assert {(answer.status, answer.reason) for answer in refused} == {(403, "token-video")}


async def test_with_every_edge_down_a_player_hears_503_and_the_logs_keep_the_secret(
    component, sandbox, tmp_path
):
    program = component("nginx")
    async with (
        an_edge(sandbox, **BEHIND) as edge,
        an_nginx(program, tmp_path, [free_port()], [free_port()]) as nginx,
    ):
        token = edge.mint("x8abcd")
        for path in (f"/play/x8abcd.m3u8?token={token}", f"{HLS}?token={token}"):
            answer = await edge.get(f"{nginx.origin}{path}")
            assert (answer.status, answer.reason) == (503, "edge-unreachable")
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"

        assert token.split(".")[2] not in nginx.access_log + nginx.error_log
        assert '"status":503' in nginx.access_log


async def test_stream_urls_and_files_come_through_for_the_viewers_own_address(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint()
    for path in (
        f"/play/x8demo1.mp4?token={token}",
        f"/stream-urls?video_id=x8demo1&formats=stream_hls_url&token={token}",
    ):
        answer = await edge.get(f"{nginx.origin}{path}", source="127.0.0.7")
        url = answer.location if answer.status == 302 else answer.json["stream_hls_url"]
        assert (await edge.get(url, source="127.0.0.7")).status == 200
        assert (await edge.get(url, source="127.0.0.1")).status == 403
    await eventually(lambda: '"/stream-urls"' in nginx.access_log)
    assert '"/play/x8demo1.mp4"' in nginx.access_log and token not in nginx.access_log
