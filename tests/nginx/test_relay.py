"""Pattern (c): nginx fetches relayed bytes itself, over https that it verifies, and says nothing."""

import asyncio
import contextlib
import json
import re
import ssl
from ipaddress import ip_network

import aiohttp
import pytest
from certificates import certify
from nginx_server import send_raw
from players.test_players import frames_of
from relay_stack import relaying
from support import ROOT, eventually

from proxy.domain.seal import SealKeys, Session
from proxy.domain.sealed_paths import Sealer
from proxy.sandbox.controls import Fault
from proxy.settings.schema import SANDBOX_SEAL_SECRET
from proxy.web.responses import FORWARDED_RESPONSE_HEADERS


@pytest.fixture
async def relayed(component, tmp_path):
    async with relaying(component("nginx"), tmp_path) as running:
        yield running


async def test_bytes_go_through_nginx_and_none_through_the_edge(relayed, tmp_path):
    for video in ("x8demo1", "x8live1", "x8keys1", "x8fmp41"):
        for path in await relayed.segments(video):
            status, body, headers = await relayed.get(path)
            assert status == 200 and len(body) > 15
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert headers.getall("Cache-Control") == ["private, max-age=0"]

    assert relayed.sandbox.controls.calls["segment"] >= 12
    assert await relayed.metric("playgate_relayed_bytes_total") == 0
    logs = relayed.nginx.access_log + relayed.nginx.error_log
    assert '"/relay/bytes/…"' in logs and '"/relay/playlist/…"' in logs
    assert (
        "sec2" not in logs
        and "sec=" not in logs
        and "token" not in logs.replace("invalid_token", "")
    )


async def test_ranges_and_conditional_requests_work(relayed):
    path = (await relayed.segments())[0]
    _, whole, headers = await relayed.get(path)
    status, part, told = await relayed.get(path, headers={"Range": "bytes=188-375"})

    assert (status, part) == (206, whole[188:376])
    assert told["Content-Range"] == f"bytes 188-375/{len(whole)}"
    assert (await relayed.get(path, headers={"If-None-Match": headers["ETag"]}))[0] == 304
    assert (await relayed.get(path, headers={"Range": "bytes=99999999-"}))[0] == 416
    assert (await relayed.get(path, method="HEAD"))[0] == 200
    for name in ("If-Match", "If-Unmodified-Since"):
        value = {"If-Match": '"x"', "If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}[name]
        assert (await relayed.get(path, headers={name: value}))[0] == 412


async def test_a_range_asked_for_first_is_answered_too(relayed):
    status, part, _ = await relayed.get(
        (await relayed.segments())[1], headers={"Range": "bytes=0-9"}
    )

    assert (status, len(part)) == (206, 10)


async def test_the_cache_is_keyed_on_the_upstream_and_never_on_the_seal(relayed):
    """Two sessions, one upstream URL: kept from the second request on, whosever that is.

    Each has to be allowed all the same.
    """
    sandbox = relayed.sandbox
    sec = sandbox.locks.seal("x8demo1", "127.0.0.1", now=sandbox.now())
    url = f"{sandbox.origin}/sec2({sec})/frag(0)/video/612/345/x8demo1_vod_180.ts"
    key = SealKeys([SANDBOX_SEAL_SECRET]).newest
    paths = [
        Sealer(key, Session(
            video="x8demo1", network=ip_network("127.0.0.0/24"), started_at=int(sandbox.now()),
            jti=jti, subject=None, issued_at=int(sandbox.now()),
        )).bytes_paths([url], base=url, is_fixed=False)[url]
        for jti in ("one", "two")
    ]  # fmt: skip
    answers = [await relayed.get(path) for path in paths * 2]

    assert paths[0] != paths[1]
    assert {status for status, _, _ in answers} == {200}
    assert sandbox.controls.calls["segment"] == 2  # of four


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace("frag(0)", "frag(7)"),
        lambda path: path + "?a=1",
        lambda path: path.replace("/video/", "/x/../video/"),
        lambda path: path.replace("/video/", "//video/"),
        lambda path: path.replace("/relay/bytes/", "/relay/bytes/x/../"),
        lambda path: path.replace("/relay/bytes/", "/relay/bytes/A"),
        lambda path: path.replace("_vod_360", "_vod_180"),
    ],
)
async def test_a_changed_path_is_refused_before_any_upstream_is_asked(relayed, change):
    path = change((await relayed.segments())[0])
    status, answer = await relayed.nginx.ask(path)

    if "/bytes/x/../" in path:  # nginx normalises; the edge sees both readings and denies
        assert status == 403
    assert status == 403 and b"X-Deny-Reason: " in answer and b'"reason":""' not in answer
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_preflights_are_answered_and_other_methods_refused(relayed):
    path = (await relayed.segments())[0]
    status, _, headers = await relayed.get(path, method="OPTIONS", headers={"Origin": "https://a"})
    assert status == 204 and "Range" in headers["Access-Control-Allow-Headers"]

    status, body, _ = await relayed.get(path, method="POST")
    assert status == 403 and b"path-not-covered" in body
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_a_certificate_that_does_not_verify_is_not_accepted(component, tmp_path):
    """Nobody is told where nginx went, neither the viewer nor a log."""
    (tmp_path / "other").mkdir()
    stranger, _ = certify(tmp_path / "other", "localhost")
    async with relaying(component("nginx"), tmp_path, trusts=stranger) as relayed:
        path = (await relayed.segments())[0]
        status, body, headers = await relayed.get(path)

        assert (status, headers["X-Deny-Reason"]) == (503, "platform-unreachable")
        assert json.loads(body)["reason"] == "platform-unreachable"
        assert relayed.sandbox.controls.calls["segment"] == 0
        assert "sec2" not in relayed.nginx.access_log + relayed.nginx.error_log


async def test_an_edge_or_a_cdn_that_breaks_off_leaves_no_signature_in_any_log(relayed):
    paths = await relayed.segments()
    for cut in ("before", "within"):
        relayed.sandbox.controls.set_fault("segment", Fault(cut=cut, status=200))
        try:
            status, _, _ = await relayed.get(paths[2])
        except aiohttp.ClientPayloadError:
            status = 0
        assert status in {0, 503}
    relayed.sandbox.controls.set_fault("segment", None)
    assert (await relayed.get(paths[2]))[0] == 200

    await eventually(lambda: relayed.nginx.access_log.count("/relay/bytes/") >= 3)
    logs = relayed.nginx.access_log + relayed.nginx.error_log
    assert "sec2" not in logs and relayed.sandbox.origin not in logs


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Fault(status=403), 403, "platform-bad-response"),
        (Fault(status=404), 404, "stream-unavailable"),
        (Fault(status=500), 503, "platform-unreachable"),
        (Fault(status=503), 503, "platform-unreachable"),
        (Fault(status=302, headers=(("Location", "https://localhost:1/sec2(x)"),)), 502, "stream-host-not-allowed"),
    ],
)  # fmt: skip
async def test_the_cdns_no_is_told_as_its_own(relayed, fault, status, reason):
    path = (await relayed.segments())[0]
    relayed.sandbox.controls.set_fault("segment", fault)
    answer = await relayed.get(path)

    assert (answer[0], answer[2]["X-Deny-Reason"]) == (status, reason)
    assert "Location" not in answer[2] and json.loads(answer[1])["reason"] == reason


async def test_a_redirect_of_the_cdn_is_followed_by_the_edge(relayed):
    path = (await relayed.segments())[0]
    location = (("Location", f"{relayed.sandbox.origin}/__calls"),)
    relayed.sandbox.controls.set_fault("segment", Fault(status=302, headers=location, times=2))
    status, body, headers = await relayed.get(path)

    assert status == 200 and json.loads(body)["segment"] == 2
    assert "Location" not in headers


async def test_a_challenge_in_place_of_a_segment_is_not_kept(relayed):
    path = (await relayed.segments())[0]
    html = (
        ("Content-Type", "text/html"),
        ("Location", "/x"),
        ("Set-Cookie", "a=b"),
        ("Refresh", "0; url=/"),
    )
    relayed.sandbox.controls.set_fault("segment", Fault(status=200, body="<html>", headers=html))
    for _ in range(3):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await relayed.get(path)
    relayed.sandbox.controls.set_fault("segment", None)

    assert (await relayed.get(path))[2]["Content-Type"] == "video/mp2t"


async def test_an_upstream_that_nginx_does_not_know_is_not_asked(component, tmp_path):
    """The edge allows a host that the map of the configuration leaves out."""
    async with relaying(component("nginx"), tmp_path, knows="elsewhere.example") as relayed:
        status, body, headers = await relayed.get((await relayed.segments())[0])

    assert (status, headers["X-Deny-Reason"]) == (503, "stream-host-not-allowed")
    assert json.loads(body)["reason"] == "stream-host-not-allowed"
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_ffmpeg_plays_through_it(relayed, component):
    frames, complaints = await frames_of(component("ffmpeg"), relayed.play_url(), 12)

    assert frames == pytest.approx(300, abs=2), complaints
    assert await relayed.metric("playgate_relayed_bytes_total") == 0


async def test_a_file_is_fetched_range_by_range_and_not_kept(relayed):
    """nginx's cache would fetch a film whole for the first range of it."""
    token = relayed.play_url("x8demo1").partition("token=")[2]
    status, _, headers = await relayed.get(
        f"/play/x8demo1.mp4?token={token}", allow_redirects=False
    )
    path = headers["Location"]
    assert (status, path.startswith("/relay/bytes/")) == (302, True)
    status, part, told = await relayed.get(path, headers={"Range": "bytes=4-7"})
    assert (status, part) == (206, b"ftyp")
    assert told["Content-Range"] == "bytes 4-7/388941"
    assert list(relayed.sandbox.ranges) == ["bytes=4-7"]
    stale = {"Range": "bytes=4-7", "If-Range": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert (await relayed.get(path, headers=stale))[0] == 200
    assert await relayed.metric("playgate_relayed_bytes_total") == 0

    relayed.sandbox.controls.set_fault("segment", Fault(status=500))
    assert (await relayed.get(path, headers={"Range": "bytes=4-7"}))[0] == 503


ABOUT_AN_ORIGIN = (
    "NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc", "Service-Worker-Allowed", "Set-Cookie",
    "X-Deny-Reason", "Content-Location", "Link", "Refresh", "Clear-Site-Data", "Accept-CH",
    "Strict-Transport-Security", "Permissions-Policy", "Speculation-Rules", "SourceMap", "Via",
    "Cross-Origin-Opener-Policy", "Origin-Agent-Cluster", "X-Request-Id", "Timing-Allow-Origin",
    "Access-Control-Allow-Credentials", "Server-Timing", "WWW-Authenticate", "X-Anything", "Age",
)  # fmt: skip
VIEWERS = {
    "accept-ranges", "access-control-allow-origin", "cache-control", "connection",
    "content-length", "content-range", "content-security-policy", "content-type",
    "cross-origin-resource-policy", "date", "etag", "last-modified", "server",
    "transfer-encoding", "x-content-type-options",
}  # fmt: skip


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
async def test_of_the_cdns_headers_viewers_get_those_that_are_listed(relayed, headers):
    """Others would speak for our origin; fresh, from the cache, and as a part."""
    path = (await relayed.segments())[0]
    theirs = (("Content-Type", "video/mp2t"), *((name, "x=y") for name in ABOUT_AN_ORIGIN))
    fault = Fault(status=200, body="x" * 100, headers=theirs)
    relayed.sandbox.controls.set_fault("segment", fault)
    for _ in range(4):  # kept from the second on
        status, body, told = await relayed.get(path, headers=headers)
        assert (status, len(body)) in {(200, 100), (206, 10)}
        assert {name.lower() for name in told} <= VIEWERS
        assert told.getall("Cache-Control") == ["private, max-age=0"]
        assert told["Content-Type"] == "video/mp2t"


def test_the_list_is_the_edges_own():
    script = (ROOT / "deploy" / "relay_headers.js").read_text()
    (listed,) = re.findall(r"const ALLOWED_HEADERS = \[(.*?)\];", script, re.DOTALL)
    own = {"connection", "date", "server", "transfer-encoding"}
    assert (
        set(re.findall(r'"([a-z-]+)"', listed))
        == {name.lower() for name in FORWARDED_RESPONSE_HEADERS} | own
    )


FINAL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: a=b; Path=/\r\n"
    b"Content-Length: 4\r\n\r\nEVIL"
)
MEDIA = b"Content-Type: video/mp2t\r\nContent-Length: 4\r\n"
# What a hostile CDN answers, by the name of what it is, and whether viewers get it.
RAW = {
    "good": (b"HTTP/1.1 200 OK\r\n" + MEDIA + b"\r\nEVIL", True),
    "long-head": (
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 6000 + b"\r\n" + MEDIA + b"\r\nEVIL",
        True,
    ),
    "100": (b"HTTP/1.1 100 Continue\r\nContent-Length: 99\r\n\r\n" + FINAL, False),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + FINAL, False),
    "102": (b"HTTP/1.1 102 Processing\r\n\r\n" + FINAL, False),
    "103": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 99\r\n\r\n" + FINAL, False),
    "199": (b"HTTP/1.1 199 New\r\nContent-Length: 99\r\n\r\n" + FINAL, False),
    "empty-line-first": (b"\r\n" + FINAL, False),
    "lower-case": (FINAL.replace(b"HTTP", b"http"), False),
    "no-head": (b"<script>EVIL</script>", False),
    "http-2": (FINAL.replace(b"/1.1", b"/2"), False),
    "204": (b"HTTP/1.1 204 No\r\n\r\n", False),
    "205": (b"HTTP/1.1 205 No\r\nContent-Length: 4\r\n\r\nEVIL", False),
    "206": (b"HTTP/1.1 206 Part\r\n" + MEDIA + b"Content-Range: bytes 0-3/9\r\n\r\nEVIL", True),
    "226": (b"HTTP/1.1 226 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "300": (b"HTTP/1.1 300 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "304": (b"HTTP/1.1 304 No\r\n\r\n", False),
    "400": (b"HTTP/1.1 400 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "401": (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\n" + MEDIA + b"\r\nEVIL", False),
    "407": (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n" + MEDIA + b"\r\nEVIL", False),
    "420": (b"HTTP/1.1 420 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "505": (b"HTTP/1.1 505 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "999": (b"HTTP/1.1 999 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "page": (FINAL, False),
    "page-behind-a-comma": (FINAL.replace(b"text/html", b",text/html"), False),
    "page-before-a-comma": (FINAL.replace(b"text/html", b"text/html,x"), False),
    "page-as-second-type": (
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nEVIL",
        False,
    ),
    "501": (b"HTTP/1.1 501 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "520": (b"HTTP/1.1 520 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "page-in-capitals": (FINAL.replace(b"text/html", b"TEXT/HTML ; charset=x"), False),
    "compressed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + MEDIA + b"\r\nEVIL",
        False,
    ),
    "compressed-twice": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n"
        + MEDIA
        + b"\r\nEVIL",
        False,
    ),
}  # fmt: skip


async def raw_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as RAW says for the last folder of the path, whatever is asked."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(RAW[head.split()[1].decode().split("/")[-2]][0])
        await writer.drain()
    writer.close()


@pytest.fixture
async def hostile(component, tmp_path):
    """Yield what asks nginx for bytes of a CDN that answers with RAW."""
    (tmp_path / "hostile").mkdir()
    authority, chain = certify(tmp_path / "hostile", "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    server = await asyncio.start_server(raw_answers, "127.0.0.1", 0, ssl=tls)
    host = f"localhost:{server.sockets[0].getsockname()[1]}"
    settings = {
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([host]),
        "SSL_CERT_FILE": str(authority),
    }
    async with (
        server,
        relaying(
            component("nginx"), tmp_path, trusts=authority, knows=host, settings=settings
        ) as relayed,
    ):
        session = Session(
            video="x8demo1",
            network=ip_network("127.0.0.0/24"),
            started_at=int(relayed.sandbox.now()),
            jti=None,
            subject=None,
            issued_at=int(relayed.sandbox.now()),
        )
        sealer = Sealer(SealKeys([SANDBOX_SEAL_SECRET]).newest, session)

        async def ask(name: str) -> bytes:
            path = sealer.file_path(f"https://{host}/{name}/segment.ts")
            request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            return await send_raw(relayed.nginx.port, request.encode())

        ask.log = lambda: relayed.nginx.access_log
        yield ask


async def test_what_is_no_content_never_speaks_for_our_origin(hostile):
    """nginx passes on 1xx and what is no HTTP; the body would be an answer, with its own headers."""
    for name, (_, is_for_viewers) in RAW.items():
        for _ in range(3):  # kept from the second on, if at all
            answer = await hostile(name)
            assert (b"EVIL" in answer) is is_for_viewers, (name, answer)
            assert not re.search(
                rb"set-cookie|-authenticate|upgrade|gzip", answer, re.IGNORECASE
            ), name
            assert answer == b"" or answer.startswith(b"HTTP/1.1 "), name
            if is_for_viewers:
                assert b"Content-Security-Policy: sandbox" in answer, name
            elif not answer:
                line = hostile.log().splitlines()[-1]
                logged = json.loads(line)
                assert (logged["status"], logged["reason"]) == (502, "platform-bad-response"), name
