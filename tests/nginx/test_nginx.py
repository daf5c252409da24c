"""deploy/nginx.conf with real nginx: plays, guarded files, refusals and logs."""

import asyncio
import contextlib
import os
import re
import subprocess
from ipaddress import ip_network

import pytest
from nginx_server import BEHIND, CONF, MEDIA, run_deployed_nginx
from ports import free_port
from support import run_test_edge, wait_until

HLS = "/hls/x8abcd/index.m3u8"


def test_the_configuration_file_is_valid(component, tmp_path):
    """Only paths are substituted: that of the script and, unless root, those of logs and the PID."""
    program, conf = component("nginx"), tmp_path / "nginx.conf"
    script = CONF.parent / "relay_headers.js"
    text = CONF.read_text().replace("/etc/nginx/relay_headers.js", str(script))
    if os.geteuid() != 0:
        text = text.replace("/var/log/nginx", str(tmp_path))
        text = text.replace("/run/nginx.pid", str(tmp_path / "pid"))
    conf.write_text(text)
    result = subprocess.run(
        [program, "-t", "-c", conf], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert "warn" not in result.stderr


def find_locations(text: str) -> list[str]:
    """Return the body of every location block, without comments."""
    text = re.sub(r"(?<!\S)#.*", "", text)  # not the "#" within a problem type
    bodies = []
    for match in re.finditer(r"location[^{]*\{", text):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        bodies.append(text[match.end() : end])
    return bodies


def test_no_location_has_both_auth_request_and_return():
    """nginx would serve such a location without the auth request."""
    guarded = [
        body for body in find_locations(CONF.read_text()) if re.search(r"\bauth_request\s", body)
    ]

    assert len(guarded) == 2
    for body in guarded:
        assert not re.search(r"\b(return|rewrite|if|try_files)\b", body)
        # If a guarded location proxies a request, then only to the target that the edge returned.
        assert re.findall(r"\bproxy_pass (.+?);", body) in ([], ["$relay_target"])


def test_errors_below_alert_are_not_logged_because_they_may_contain_a_token():
    server = CONF.read_text().partition("server {")[2]

    assert re.findall(r"error_log \S+ (\w+);", re.sub(r"#.*", "", server)) == ["alert"]


# Plays: part (a) of the file.


@pytest.mark.smoke
async def test_a_play_is_locked_to_the_viewers_address(behind_nginx):
    nginx, edge = behind_nginx
    response = await edge.get(
        f"{nginx.origin}/play/x8demo1.m3u8?token={edge.mint()}", source="127.0.0.7"
    )

    assert response.status == 302
    assert (await edge.get(response.location, source="127.0.0.7")).status == 200
    assert (await edge.get(response.location, source="127.0.0.1")).status == 403


async def test_a_client_cannot_forge_its_address_or_request_id(behind_nginx):
    nginx, edge = behind_nginx
    headers = {"X-Forwarded-For": "127.0.0.9", "X-Real-IP": "127.0.0.9", "X-Request-Id": "mine"}
    response = await edge.get(
        f"{nginx.origin}/play/x8demo1.m3u8?token={edge.mint()}", source="127.0.0.7", headers=headers
    )

    assert (await edge.get(response.location, source="127.0.0.7")).status == 200
    assert response.headers["X-Request-Id"] != "mine"


@pytest.mark.parametrize("carrier", ["header", "cookie"])
async def test_a_token_in_a_header_or_cookie_reaches_the_edge(behind_nginx, carrier):
    nginx, edge = behind_nginx
    line = {
        "header": f"Authorization: Bearer {edge.mint()}",
        "cookie": f"Cookie: playgate_token={edge.mint()}",
    }[carrier]

    assert (await nginx.request("/play/x8demo1.m3u8", line))[0] == 302


async def test_a_refusal_of_the_edge_is_passed_on_unchanged(behind_nginx):
    nginx, edge = behind_nginx
    response = await edge.get(f"{nginx.origin}/play/x8null.m3u8?token={edge.mint('x8null')}")

    assert (response.status, response.reason) == (404, "stream-unavailable")
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/", "not-found"), ("/play/x8demo1.m3u8", "token-missing"), ("/play/x8demo1.mp4", "token-missing")],
)  # fmt: skip
async def test_a_browser_gets_an_error_page_and_a_player_gets_json(behind_nginx, path, reason):
    nginx, _ = behind_nginx
    _, page = await nginx.request(path, BROWSER)
    _, problem = await nginx.request(path, "Accept: */*")

    assert b"Content-Type: text/html" in page and reason.encode() in page.partition(b"\r\n\r\n")[2]
    assert b"application/problem+json" in problem and b"<html" not in problem
    for accept in ("text/html;q=0", "application/json, text/html;q=0.5"):
        _, problem = await nginx.request(path, f"Accept: {accept}")
        assert b"application/problem+json" in problem, accept


@pytest.mark.parametrize(
    "path",
    ["/auth", "/metrics", "/tokens", "/readyz", "/healthz", "/_playgate/auth", "/watch/x8demo1"],
)
async def test_the_operator_port_is_unreachable_through_nginx(behind_nginx, path):
    nginx, _ = behind_nginx

    assert (await nginx.request(path))[0] == 404
    assert (await nginx.request(path, method="POST"))[0] in {404, 405}


async def test_a_play_with_200_request_headers_succeeds(behind_nginx):
    nginx, edge = behind_nginx
    headers = [f"X-H{n}: {n}" for n in range(200)]

    assert (await nginx.request(f"/play/x8demo1.m3u8?token={edge.mint()}", *headers))[0] == 302


async def test_an_absolute_form_request_target_is_handled_like_its_path(behind_nginx):
    nginx, edge = behind_nginx

    assert (await nginx.request(f"http://evil.example/play/x8demo1.m3u8?token={edge.mint()}"))[
        0
    ] == 302
    assert (await nginx.request(f"http://evil.example{HLS}?token={edge.mint('x8abcd')}"))[0] == 200


# Guarded files: part (b) of the file.


@pytest.mark.smoke
async def test_a_token_and_its_cookie_grant_access_to_the_files_of_its_video(behind_nginx):
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
async def test_only_the_token_is_written_into_the_cookie(behind_nginx, extra):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd")
    for query in (f"{extra}&token={token}", f"token={token}&{extra}"):
        status, response = await nginx.request(f"{HLS}?{query}")
        cookies = re.findall(rb"Set-Cookie: (.*)\r\n", response)

        assert status == 200
        assert cookies == [f"playgate_token={token}; Path=/hls/x8abcd/; HttpOnly".encode()]


async def test_a_percent_encoded_token_is_accepted_and_sets_no_cookie(behind_nginx):
    nginx, edge = behind_nginx
    encoded = edge.mint("x8abcd").replace(".", "%2E")
    status, response = await nginx.request(f"{HLS}?token={encoded}")

    assert status == 200
    assert b"Set-Cookie" not in response


async def test_a_missing_file_gets_404_with_cors_headers(behind_nginx):
    nginx, edge = behind_nginx
    response = await edge.get(f"{nginx.origin}/hls/x8abcd/99.ts?token={edge.mint('x8abcd')}")

    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (404, "*")
    assert "Set-Cookie" not in response.headers


async def test_a_newer_token_in_the_url_replaces_an_older_cookie(behind_nginx):
    nginx, edge = behind_nginx
    old, new = edge.mint("x8abcd", ttl=100), edge.mint("x8abcd", ttl=101)
    response = await edge.get(
        f"{nginx.origin}{HLS}?token={new}", headers={"Cookie": f"playgate_token={old}"}
    )

    assert response.status == 200
    assert new in response.headers["Set-Cookie"]


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
    response = await edge.get(f"{nginx.origin}{HLS}{query}")

    assert (response.status, response.reason) == (status, reason)
    assert response.json["reason"] == reason
    assert response.headers.get("WWW-Authenticate", "").startswith("Bearer") is (status == 401)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in response.headers


async def test_a_token_bound_to_a_network_is_refused_from_another_address(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd", network=ip_network("127.0.0.8/32"))
    url = f"{nginx.origin}{HLS}?token={token}"

    assert (await edge.get(url, source="127.0.0.8")).status == 200
    forged = {"X-Forwarded-For": "127.0.0.8", "X-Original-URI": HLS}
    assert (await edge.get(url, source="127.0.0.9", headers=forged)).reason == "token-network"


async def test_range_and_conditional_requests_apply_to_the_file_and_not_to_the_auth_request(
    behind_nginx,
):
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

    assert (await nginx.request(f"{HLS}?token={edge.mint('x8abcd')}", method=method))[0] == status


async def test_a_preflight_succeeds_with_or_without_a_token_and_returns_no_content(behind_nginx):
    nginx, edge = behind_nginx
    for query in ("", f"?token={edge.mint('x8abcd')}"):
        status, response = await nginx.request(
            HLS + query, "Origin: https://example.com", method="OPTIONS"
        )

        assert status == 204
        assert b"Access-Control-Allow-Origin: *" in response
        assert b"#EXTM3U" not in response


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
async def test_an_obfuscated_path_does_not_reach_a_file(behind_nginx, path):
    """Neither a token for x8other nor a token for x8abcd gets the file, however nginx reads the path."""
    nginx, edge = behind_nginx
    for video in ("x8other", "x8abcd"):
        separator = "&" if "?" in path else "?"
        status, response = await nginx.request(f"{path}{separator}token={edge.mint(video)}")

        assert status in {400, 403, 404}, response
        assert b"#EXTM3U" not in response


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
async def test_no_client_header_bypasses_or_breaks_authorization(behind_nginx, lines):
    nginx, edge = behind_nginx

    assert (await nginx.request(HLS, *lines))[0] == 401
    good = [line for line in lines if not line.startswith("Authorization")]
    assert (await nginx.request(f"{HLS}?token={edge.mint('x8abcd')}", *good))[0] == 200


async def test_nginx_refuses_a_too_long_request_line_with_414(behind_nginx):
    nginx, _ = behind_nginx

    assert (await nginx.request(f"{HLS}?token={'a' * 9000}"))[0] == 414


# Request bodies and logs.


@pytest.mark.parametrize("path", ["/play/x8demo1.m3u8", "/hls/x8abcd/0.ts", "/relay/a/b", "/relay/a/playlist.m3u8", "/stream-urls"])  # fmt: skip
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_request_body_and_its_framing_headers_are_not_forwarded(
    component, tmp_path, path, framing
):
    """An edge that waits for a body would read the next request of the connection as that body."""
    request_headers: list[bytes] = []

    async def respond(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                request_headers.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    body = b"hello" if "Length" in framing else b"5\r\nhello\r\n0\r\n\r\n"
    edge = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = edge.sockets[0].getsockname()[1]
    async with run_deployed_nginx(component("nginx"), tmp_path, [port], [port]) as nginx:
        for method in ("GET", "POST"):
            request = (
                f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n"
            )
            await nginx.send(request.encode() + body)
    edge.close()
    assert request_headers
    for headers in request_headers:
        assert b"content-length" not in headers.lower()
        assert b"transfer-encoding" not in headers.lower()
        assert headers.startswith((b"GET ", b"POST ")), "the body was parsed as a request"


async def test_no_token_is_ever_logged(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint("x8abcd")
    secret = token.split(".")[2]
    for path in (
        f"{HLS}?token={token}",
        f"/play/x8abcd.m3u8?token={token}",
        f"/hls/x8other/1?token={token}",
    ):
        await nginx.request(
            path, f"Referer: https://example.com/?token={token}", f"Cookie: playgate_token={token}"
        )
    for path in ("/nowhere", "/play/x8abcd.m3u8", HLS):
        big = f"POST {path}?token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n"
        assert (await nginx.send(big.encode() + b"x" * 5000))[0] == 413
    await nginx.request("/play/kPrivateIdOfSomebody.m3u8")
    await nginx.request("/hls/kPrivateIdOfSomebody/index.m3u8")
    for path in (
        f"/play/x8abcd.m3u8%3Ftoken={token}", f"/play/x8abcd.m3u8&token={token}", f"/play/{token}",
        f"/{token}", f"/hls/x8abcd/{token}", f"/hls/x8abcd/0.ts%3ftoken={token}", f"/nowhere/{token}",
        "/Play/kPrivateIdOfSomebody", "/play/x/kPrivateIdOfSomebody", "/kPrivateIdOfSomebody.m3u8",
        "/play/%20kPrivateIdOfSomebody", "/embed/video/kPrivateIdOfSomebody",
    ):  # fmt: skip
        await nginx.request(path)

    logs = nginx.access_log + nginx.error_log + edge.log.getvalue()
    assert HLS in nginx.access_log and "token-video" in nginx.access_log
    assert secret not in logs
    assert "PrivateIdOfSomebody" not in logs


async def test_with_one_edge_down_refusals_keep_their_status_and_reason(
    component, sandbox, tmp_path
):
    """Every other request fails over, and nginx's $upstream_status then lists both statuses."""
    program = component("nginx")
    async with run_test_edge(sandbox, **BEHIND) as edge:
        players = [free_port(), edge.edge.player.port]
        operators = [free_port(), edge.edge.operator.port]
        async with run_deployed_nginx(program, tmp_path, players, operators) as nginx:
            unauthenticated = [await edge.get(f"{nginx.origin}{HLS}") for _ in range(6)]
            other_video = [
                await edge.get(f"{nginx.origin}{HLS}?token={edge.mint('x8other')}")
                for _ in range(6)
            ]

    assert {(response.status, response.reason) for response in unauthenticated} == {
        (401, "token-missing")
    }
    assert {(response.status, response.reason) for response in other_video} == {
        (403, "token-video")
    }


async def test_with_every_edge_down_players_get_503_and_no_token_is_logged(
    component, sandbox, tmp_path
):
    program = component("nginx")
    async with (
        run_test_edge(sandbox, **BEHIND) as edge,
        run_deployed_nginx(program, tmp_path, [free_port()], [free_port()]) as nginx,
    ):
        token = edge.mint("x8abcd")
        for path in (f"/play/x8abcd.m3u8?token={token}", f"{HLS}?token={token}"):
            response = await edge.get(f"{nginx.origin}{path}")
            assert (response.status, response.reason) == (503, "edge-unreachable")
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["Access-Control-Allow-Origin"] == "*"

        assert token.split(".")[2] not in nginx.access_log + nginx.error_log
        assert '"status":503' in nginx.access_log


async def test_stream_urls_and_mp4_files_are_locked_to_the_viewers_address(behind_nginx):
    nginx, edge = behind_nginx
    token = edge.mint()
    for path in (
        f"/play/x8demo1.mp4?token={token}",
        f"/stream-urls?video_id=x8demo1&formats=stream_hls_url&token={token}",
    ):
        response = await edge.get(f"{nginx.origin}{path}", source="127.0.0.7")
        url = response.location if response.status == 302 else response.json["stream_hls_url"]
        assert (await edge.get(url, source="127.0.0.7")).status == 200
        assert (await edge.get(url, source="127.0.0.1")).status == 403
    await wait_until(lambda: '"/stream-urls"' in nginx.access_log)
    assert '"/play/x8demo1.mp4"' in nginx.access_log and token not in nginx.access_log
