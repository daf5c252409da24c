"""Serving: sockets, limits, slow clients, malformed requests, and stopping without lost requests."""

import asyncio
import contextlib
import errno
import gzip
import io
import json
import random
import socket
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest
from support import (
    RunningEdge,
    build_settings_for,
    run_test_edge,
    run_test_sandbox,
    skip_or_fail,
    wait_until,
)
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.log_writer import open_log_writer
from proxy.adapters.logs import build_logger
from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.server import run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.serving import ListenError, run_edge
from proxy.settings.value_checks import parse_listen
from proxy.web.connection import PORT


async def connect(edge: RunningEdge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", edge.edge.player.port)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def build_request(edge: RunningEdge, path: str | None = None) -> bytes:
    path = path or str(URL(edge.play_url()).raw_path_qs)
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def test_the_edge_serves_on_a_unix_socket_and_trusts_its_peer_as_a_proxy(sandbox, tmp_path):
    path = tmp_path / "player.sock"
    async with run_test_edge(sandbox, web={"listen": f"unix:{path}"}) as edge:
        token = edge.mint()
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = URL(f"http://edge/play/x8demo1.m3u8?token={token}")
            headers = {"X-Forwarded-For": "127.0.0.6"}
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                assert response.status == 302
                location = response.headers["Location"]
            async with session.get(url, allow_redirects=False) as response:
                assert response.headers["X-Deny-Reason"] == "viewer-private"
        assert (await edge.get(location, source="127.0.0.6")).status == 200

    assert not path.exists()


async def test_a_stale_socket_file_is_replaced(sandbox, tmp_path):
    path = tmp_path / "player.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with run_test_edge(sandbox, web={"listen": f"unix:{path}"}):
        assert path.is_socket()


async def test_a_socket_in_use_is_not_taken_over_and_a_newer_socket_file_is_not_removed(
    sandbox, tmp_path
):
    path = tmp_path / "player.sock"
    async with run_test_edge(sandbox, web={"listen": f"unix:{path}"}):
        with pytest.raises(ListenError, match="in use"):
            async with run_test_edge(sandbox, web={"listen": f"unix:{path}"}):
                pass
        path.unlink()
        with socket.socket(socket.AF_UNIX) as newer:
            newer.bind(str(path))
    assert path.is_socket()


async def test_a_regular_file_at_the_socket_path_is_not_removed(sandbox, tmp_path):
    path = tmp_path / "player.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match=r"cannot listen on unix:.*in use"):
        async with run_test_edge(sandbox, web={"listen": f"unix:{path}"}):
            pass
    assert path.read_text() == "precious"


async def test_the_error_names_the_port_that_is_in_use(edge, sandbox):
    with pytest.raises(
        ListenError, match=f"cannot listen on {edge.edge.player}: Address already in use"
    ):
        async with run_test_edge(sandbox, web={"listen": str(edge.edge.player)}):
            pass


async def test_the_edge_listens_on_ipv6(sandbox):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        skip_or_fail("this machine has no IPv6 loopback")
    async with (
        run_test_edge(
            sandbox, web={"listen": "[::1]:0"}, delivery={"cdn_families": ["ipv4", "ipv6"]}
        ) as edge,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(edge.play_url(), allow_redirects=False) as response:
            assert response.status == 302
        assert await edge.metric("playgate_viewers_total") == {'family="ipv6"': 1}


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("localhost:0", "localhost:0"),
        ("unix:/a/b", "unix:/a/b"),
    ],
)
def test_a_parsed_listen_address_prints_as_it_was_written(text, printed):
    assert str(parse_listen(text)) == printed


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:80", "unix:a"]
)
def test_an_invalid_listen_address_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_listen(text)


async def test_oversized_or_invalid_headers_get_400_and_the_edge_keeps_serving(edge):
    for request_headers in (
        b"GET /play/" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
        b"\x16\x03\x01 this is no http\r\n\r\n",
    ):
        reader, writer = await connect(edge)
        writer.write(request_headers)
        response = await asyncio.wait_for(reader.read(), 20)
        assert response == b"" or (
            response.startswith(b"HTTP/1.") and b" 400 " in response.split(b"\r\n")[0]
        )
        await close(writer)
    assert (await edge.play()).status == 302


async def test_a_compressed_request_body_is_neither_decompressed_nor_awaited(edge):
    """Decompressing a megabyte to a gigabyte would block every viewer for a second."""
    bomb = gzip.compress(bytes(200_000_000), compresslevel=9)
    before = time.process_time()
    for path in ("/", "/play/x8demo1.m3u8"):
        reader, writer = await connect(edge)
        request_headers = f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(request_headers.encode() + bomb)
        response = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert response.split()[1] in {b"404", b"401"}
        await close(writer)
    after = time.process_time()
    gzip.decompress(bomb)

    # Both requests together take less CPU time than decompressing the body once.
    assert after - before < time.process_time() - after


@pytest.mark.parametrize(
    "request_headers",
    [
        b"CONNECT example.com:443 HTTP/1.1\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nExpect: nonsense\r\n",
        b"OPTIONS * HTTP/1.1\r\nExpect: nonsense\r\n",
        b"OPTIONS * HTTP/1.1\r\nExpect: a\r\nExpect: b\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET /nowhere HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    ],
)
async def test_a_target_that_is_not_a_path_or_an_upgrade_gets_404_and_the_connection_closes(
    edge, request_headers
):
    reader, writer = await connect(edge)
    writer.write(request_headers + b"Host: x\r\n\r\n")
    response = await asyncio.wait_for(
        reader.read(), 20
    )  # to its end: the edge closes the connection
    await close(writer)

    assert response.startswith(b"HTTP/1.1 404")
    assert b"X-Deny-Reason: not-found\r\n" in response
    assert b"Server: playgate\r\n" in response


@pytest.mark.parametrize("path", ["/play/x8demo1.m3u8", "/nowhere"])
async def test_an_expect_header_bypasses_no_check(edge, path):
    response = await edge.get(edge.player + path, headers={"Expect": "junk"})

    assert response.status in {401, 404}
    assert response.headers["Server"] == "playgate"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert len(edge.lines()) == 1


METHODS = ["GET", "HEAD", "OPTIONS", "POST", "CONNECT", "TRACE", "PUT", "X", "get", "M-SEARCH"]
TARGETS = [
    "/", "*", "/play/x8demo1.m3u8", "/play/%00.m3u8?token=%ff", "//", "/../..", "http://x/play/a.m3u8",
    "http://[::1", "x:1", "/relay/%28/a", "/relay/a/playlist.m3u8?_HLS_msn=1", "/watch/a/details",
    "/stream-urls?video_id=a", "/auth", "/tokens", "/openapi.json", "/?%", "/a b", "/play/probe?token=",
    "*?a", "http://x", "https://x:0/", "/%c0%af", "/\xff", "?", "#",
]  # fmt: skip
HEADERS = [
    "Host: x", "Host: [", "Host:", "Expect: nonsense", "Expect: 100-continue", "Expect:", "Range: bytes=1-0",
    "Content-Length: 0", "Content-Length: 5", "Content-Length: -1", "Content-Length: 1, 1",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Encoding: br",
    "Connection: upgrade\r\nUpgrade: h2c", "Connection: close", "Accept: text/html;q=x", "Accept: \xff",
    "Cookie: playgate_token=a; playgate_token=b", "Authorization: Bearer", "Authorization: Bearer a b",
    "X-Forwarded-For: [", "X-Original-URI: /%", "X-Request-Id: \x01", 'Content-Type: a/b; charset="',
    'If-None-Match: "', "Accept-Encoding: gzip;q=0", "Origin: null", "Referer: http://[", "Via: x",
]  # fmt: skip


@pytest.mark.parametrize("port", ["player", "operator"])
async def test_no_request_causes_a_traceback_or_status_500(sandbox, port):
    """Random requests, valid or not, must neither trigger a bug nor fill the log with tracebacks."""
    randomness = random.Random(20)
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    async with run_test_edge(sandbox, viewer=trusted, web={"player_page": True}) as edge:
        for _ in range(600):
            lines = [
                f"{randomness.choice(METHODS)} {randomness.choice(TARGETS)} HTTP/1.1",
                *randomness.sample(HEADERS, randomness.randint(0, 4)),
            ]
            if randomness.random() < 0.8:
                lines.append("Host: x")
            body = randomness.choice(["", "5\r\nhello\r\n0\r\n\r\n", "hello", "zz\r\n"])
            number = getattr(edge.edge, port).port
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1"))
            if randomness.random() < 0.5:  # disconnect at once, with a reset
                writer.transport.abort()
                continue
            writer.write_eof()
            with contextlib.suppress(TimeoutError, ConnectionError):
                response = await asyncio.wait_for(reader.read(4096), 0.5)
                assert b" 500 " not in response.partition(b"\r\n")[0], lines
            writer.transport.abort()
        assert edge.lines("internal") == []
        assert "Traceback" not in edge.log.getvalue()
        assert [line for line in edge.lines() if line["status"] == 500] == []
        assert (await edge.get(f"{edge.operator}/healthz")).status == 200


async def test_malformed_http_gets_a_refusal_with_the_common_headers(edge):
    reader, writer = await connect(edge)
    writer.write(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
    headers, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    await close(writer)

    assert headers.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert json.loads(body)["reason"] == "request-invalid"
    for header in (
        b"Server: playgate",
        b"Access-Control-Allow-Origin: *",
        b"Cache-Control: no-store",
        b"X-Request-Id: ",
    ):
        assert header in headers
    assert await edge.metric("playgate_refusals_total") == {'reason="request-invalid"': 1}


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_play_succeeds_while_the_log_cannot_be_written(sandbox):
    settings = build_settings_for(sandbox)
    with open_log_writer(FullDisk()) as lines:
        async with (
            run_edge(settings, log=build_logger(lines)) as edge,
            aiohttp.ClientSession() as session,
        ):
            token = TokenMinter(edge.apps.services.settings, Clock()).mint(video="x8demo1").token
            url = f"http://{edge.player}/play/x8demo1.m3u8?token={token}"
            async with session.get(url, allow_redirects=False) as response:
                assert response.status == 302


async def test_a_malformed_request_line_is_not_copied_to_the_log(edge, capsys, caplog):
    reader, writer = await connect(edge)
    writer.write(b"GET /play/x8demo1.m3u8?token=SECRETSECRET HTTP/9.9.9\r\n\r\n")
    await asyncio.wait_for(reader.read(), 20)
    await close(writer)

    captured = capsys.readouterr()
    assert "SECRETSECRET" not in captured.out + captured.err + edge.log.getvalue()


async def test_only_clients_that_send_their_headers_too_slowly_are_disconnected(sandbox):
    async with run_test_edge(sandbox) as edge:
        slow_reader, slow = await connect(edge)
        slow.write(b"GET /play/x8demo1.m3u8 HT")
        silent_reader, silent = await connect(edge)
        prompt_reader, prompt = await connect(edge)
        prompt.write(build_request(edge))
        await asyncio.wait_for(prompt_reader.readuntil(b"\r\n\r\n"), 20)

        second_reader, second = await connect(edge)
        second.write(build_request(edge))
        await asyncio.wait_for(second_reader.readuntil(b"\r\n\r\n"), 20)
        second.write(b"GET /play/x8de")  # slow only in its second request

        assert await asyncio.wait_for(second_reader.read(), 20) == b""
        assert await asyncio.wait_for(slow_reader.read(), 20) == b""
        assert await asyncio.wait_for(silent_reader.read(), 20) == b""
        prompt.write(build_request(edge))  # kept alive, and past the timeout of the first headers
        assert (await asyncio.wait_for(prompt_reader.readuntil(b"\r\n\r\n"), 20)).startswith(
            b"HTTP/1.1 302"
        )
        for writer in (slow, silent, prompt, second):
            await close(writer)


async def test_a_play_whose_viewer_disconnects_is_cleaned_up_and_counted_as_abandoned(
    edge, sandbox
):
    sandbox.controls.hold("video")
    for _ in range(5):
        _, writer = await connect(edge)
        writer.write(build_request(edge))
        await wait_until(lambda: sandbox.controls.waiting["video"] == 1)
        await close(writer)
    await wait_until(lambda: len([line for line in edge.lines() if line["status"] == 499]) == 5)
    sandbox.controls.release("video")

    assert not edge.edge.apps.player[PORT].connections.has_incomplete_headers
    assert await edge.metric("playgate_plays_total") == {'outcome="abandoned"': 5}


async def test_a_stopping_edge_completes_every_request_in_flight(sandbox):
    """Twenty plays wait for Dailymotion when the edge begins to stop; all of them succeed."""
    sandbox.controls.hold("video")
    platform = {"play_timeout": 120}
    context = run_edge(
        build_settings_for(sandbox, platform=platform), log=build_logger(io.StringIO())
    )
    edge = await context.__aenter__()
    minter = TokenMinter(edge.apps.services.settings, Clock())
    async with aiohttp.ClientSession() as session:

        async def play(n: int) -> tuple[int, str]:
            token = minter.mint(video="*", subject=f"viewer-{n}").token
            video = "x8demo1" if n % 2 else "x8live1"
            url = f"http://{edge.player}/play/{video}.m3u8?token={token}"
            async with session.get(url, allow_redirects=False) as response:
                return response.status, response.headers["Connection"]

        async def is_draining() -> bool:
            async with session.get(f"http://{edge.operator}/readyz") as response:
                return response.status == 503 and (await response.json())["status"] == "draining"

        plays = [asyncio.create_task(play(n)) for n in range(20)]
        await wait_until(lambda: sandbox.controls.waiting["video"] == 2)
        await wait_until(lambda: edge.apps.process.telemetry.metrics.http.in_flight == 20)
        stopping = asyncio.create_task(context.__aexit__(None, None, None))
        await wait_until(is_draining)
        sandbox.controls.release("video")
        responses = await asyncio.gather(*plays)
        await stopping

        assert set(responses) == {(302, "close")}
        with pytest.raises(aiohttp.ClientConnectionError):
            await play(1)


async def test_a_stopping_edge_serves_a_connection_that_it_accepted_before(sandbox):
    """aiohttp's own shutdown would close the connection before the request arrives."""
    context = run_edge(build_settings_for(sandbox), log=build_logger(io.StringIO()))
    edge = await context.__aenter__()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.player.port)
    await wait_until(lambda: edge.apps.player[PORT].connections.has_incomplete_headers)
    stopping = asyncio.create_task(context.__aexit__(None, None, None))
    await asyncio.sleep(0)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    response = await asyncio.wait_for(reader.read(), 20)
    await close(writer)
    await stopping

    assert response.startswith(b"HTTP/1.1 404")
    assert b"Connection: close" in response


async def test_hanging_plays_do_not_delay_the_stop_beyond_the_drain_timeout(sandbox):
    sandbox.controls.hold("video")
    settings = build_settings_for(
        sandbox, web={"drain_timeout": 0.2}, platform={"play_timeout": 60}
    )
    context = run_edge(settings, log=build_logger(io.StringIO()))
    edge = await context.__aenter__()
    token = TokenMinter(edge.apps.services.settings, Clock()).mint(video="x8demo1").token
    async with aiohttp.ClientSession() as session:
        url = f"http://{edge.player}/play/x8demo1.m3u8?token={token}"
        play = asyncio.create_task(session.get(url, allow_redirects=False))
        await wait_until(lambda: sandbox.controls.waiting["video"] == 1)
        async with asyncio.timeout(20):
            await context.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ClientConnectionError):
            await play
    sandbox.controls.release("video")


async def test_a_dailymotion_outage_under_load_causes_503_or_504_in_time_and_recovers_by_itself(
    tmp_path,
):
    """The sandbox stops under load and restarts on the same port; the edge keeps running."""
    port = 0
    play_timeout = 2.0
    async with AsyncExitStack() as stack:
        first = run_test_sandbox()
        sandbox = await first.__aenter__()
        port = URL(sandbox.origin).port
        edge = await stack.enter_async_context(
            run_test_edge(sandbox, platform={"play_timeout": play_timeout})
        )
        loop, before, after = asyncio.get_running_loop(), [], []  # plays, by when they ended
        stop = asyncio.Event()

        async def play_until_stopped(n: int) -> None:
            while not stop.is_set():
                started = loop.time()
                response = await edge.play(source=f"127.0.2.{n}")
                (after if is_stopped else before).append((response, loop.time() - started))

        is_stopped = False
        viewers = [asyncio.create_task(play_until_stopped(n)) for n in range(1, 9)]
        await wait_until(lambda: len(before) > 50)
        is_stopped = True
        await first.__aexit__(None, None, None)
        await wait_until(
            lambda: len([response for response, _ in after if response.status != 302]) > 30
        )
        during_outage = await edge.get(f"{edge.operator}/readyz")
        async with run_sandbox(Sandbox(), port=port):
            await wait_until(lambda: any(response.status == 302 for response, _ in after[-8:]))
            stop.set()
            await asyncio.gather(*viewers)
            assert (await edge.play()).status == 302
            after_recovery = await edge.get(f"{edge.operator}/readyz")

    assert {response.status for response, _ in before} == {302}
    refused = [(response, seconds) for response, seconds in after if response.status != 302]
    reasons = {"platform-unreachable", "platform-timeout"}
    assert {response.status for response, _ in refused} <= {503, 504}
    assert {response.reason for response, _ in refused} <= reasons
    # Five seconds more than the timeout, for a slow machine.
    assert max(seconds for _, seconds in refused) < play_timeout + 5
    assert during_outage.status == 200
    assert during_outage.json["platform"]["video"]["reason"] in reasons
    assert after_recovery.json["platform"] == {}
