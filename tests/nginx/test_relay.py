"""Part (c) of deploy/nginx.conf: nginx relays bytes over verified HTTPS and logs no upstream URL."""

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
from players.test_players import decode_frames
from relay_stack import find_relay_paths, run_relay_stack
from support import PLAYLIST_HEADERS, ROOT, wait_until

from proxy.domain.seal import SealKeys, Session
from proxy.hls.relay_urls import seal_file
from proxy.sandbox.controls import Fault
from proxy.settings.schema import SANDBOX_SEAL_SECRET
from proxy.web.responses import FORWARDED_RESPONSE_HEADERS


@pytest.fixture
async def relayed(component, tmp_path):
    async with run_relay_stack(component("nginx"), tmp_path) as running:
        yield running


async def test_nginx_relays_all_bytes_and_the_edge_relays_none(relayed, tmp_path):
    for video in ("x8demo1", "x8live1", "x8keys1", "x8fmp41"):
        for path in await relayed.fetch_segment_paths(video):
            status, body, headers = await relayed.get(path)
            assert status == 200 and len(body) > 15
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert headers.getall("Cache-Control") == ["private, max-age=0"]

    assert relayed.sandbox.controls.calls["segment"] >= 12
    assert await relayed.metric("playgate_relayed_bytes_total") == 0
    logs = relayed.nginx.access_log + relayed.nginx.error_log
    assert '"/relay/…"' in logs and "/relay/ey" not in logs
    assert (
        "sec2" not in logs
        and "sec=" not in logs
        and "token" not in logs.replace("invalid_token", "")
    )


async def test_ranges_and_conditional_requests_work(relayed):
    path = (await relayed.fetch_segment_paths())[0]
    _, whole, headers = await relayed.get(path)
    status, part, part_headers = await relayed.get(path, headers={"Range": "bytes=188-375"})

    assert (status, part) == (206, whole[188:376])
    assert part_headers["Content-Range"] == f"bytes 188-375/{len(whole)}"
    assert (await relayed.get(path, headers={"If-None-Match": headers["ETag"]}))[0] == 304
    assert (await relayed.get(path, headers={"Range": "bytes=99999999-"}))[0] == 416
    assert (await relayed.get(path, method="HEAD"))[0] == 200
    for name in ("If-Match", "If-Unmodified-Since"):
        value = {"If-Match": '"x"', "If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}[name]
        assert (await relayed.get(path, headers={name: value}))[0] == 412


async def test_a_range_request_works_before_the_segment_is_cached(relayed):
    status, part, _ = await relayed.get(
        (await relayed.fetch_segment_paths())[1], headers={"Range": "bytes=0-9"}
    )

    assert (status, len(part)) == (206, 10)


async def test_the_cache_key_is_the_upstream_url_and_not_the_seal(relayed):
    """Two sessions request the same upstream URL; the second request of either fills the cache.

    The edge still authorizes each request.
    """
    sandbox = relayed.sandbox
    sec = sandbox.locks.seal("x8demo1", "127.0.0.1", now=sandbox.now())
    url = f"{sandbox.origin}/sec2({sec})/frag(0)/video/612/345/x8demo1_vod_180.ts"
    key = SealKeys([SANDBOX_SEAL_SECRET]).newest
    paths = [
        seal_file(key, Session(
            video="x8demo1", network=ip_network("127.0.0.0/24"), started_at=int(sandbox.now()),
            jti=jti, subject=None, issued_at=int(sandbox.now()),
        ), url)
        for jti in ("one", "two")
    ]  # fmt: skip
    responses = [await relayed.get(path) for path in paths * 2]

    assert paths[0] != paths[1]
    assert {status for status, _, _ in responses} == {200}
    assert sandbox.controls.calls["segment"] == 2  # for four requests


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.replace("frag(0)", "frag(7)"),
        lambda path: path.replace("/video/", "/x/../video/"),
        lambda path: path.replace("/video/", "//video/"),
        lambda path: path.replace("/relay/", "/relay/x/../"),
        lambda path: path.replace("/relay/", "/relay/A"),
        lambda path: path.replace("_vod_360", "_vod_180"),
    ],
)
async def test_a_changed_path_is_refused_without_an_upstream_request(relayed, change):
    path = change((await relayed.fetch_segment_paths())[0])
    status, response = await relayed.nginx.request(path)

    assert status == 403 and b"X-Deny-Reason: " in response and b'"reason":""' not in response
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_preflights_succeed_and_other_methods_are_refused(relayed):
    path = (await relayed.fetch_segment_paths())[0]
    status, _, headers = await relayed.get(path, method="OPTIONS", headers={"Origin": "https://a"})
    assert status == 204 and "Range" in headers["Access-Control-Allow-Headers"]

    status, body, _ = await relayed.get(path, method="POST")
    assert status == 403 and b"path-not-covered" in body
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_an_upstream_certificate_that_does_not_verify_is_refused(component, tmp_path):
    """Neither the response nor a log contains the upstream URL."""
    (tmp_path / "other").mkdir()
    other_authority, _ = certify(tmp_path / "other", "localhost")
    async with run_relay_stack(component("nginx"), tmp_path, trusts=other_authority) as relayed:
        path = (await relayed.fetch_segment_paths())[0]
        status, body, headers = await relayed.get(path)

        assert (status, headers["X-Deny-Reason"]) == (503, "platform-unreachable")
        assert json.loads(body)["reason"] == "platform-unreachable"
        assert relayed.sandbox.controls.calls["segment"] == 0
        assert "sec2" not in relayed.nginx.access_log + relayed.nginx.error_log


async def test_no_upstream_url_is_logged_if_the_cdn_aborts_a_connection(relayed):
    paths = await relayed.fetch_segment_paths()
    for cut in ("before", "within"):
        relayed.sandbox.controls.set_fault("segment", Fault(cut=cut, status=200))
        try:
            status, _, _ = await relayed.get(paths[2])
        except aiohttp.ClientPayloadError:
            status = 0
        assert status in {0, 503}
    relayed.sandbox.controls.set_fault("segment", None)
    assert (await relayed.get(paths[2]))[0] == 200

    await wait_until(lambda: relayed.nginx.access_log.count("/relay/") >= 3)
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
async def test_an_error_of_the_cdn_is_reported_with_a_reason(relayed, fault, status, reason):
    path = (await relayed.fetch_segment_paths())[0]
    relayed.sandbox.controls.set_fault("segment", fault)
    actual_status, body, headers = await relayed.get(path)

    assert (actual_status, headers["X-Deny-Reason"]) == (status, reason)
    assert "Location" not in headers and json.loads(body)["reason"] == reason


async def test_the_edge_follows_a_redirect_of_the_cdn(relayed):
    path = (await relayed.fetch_segment_paths())[0]
    location = (("Location", f"{relayed.sandbox.origin}/__calls"),)
    relayed.sandbox.controls.set_fault("segment", Fault(status=302, headers=location, times=2))
    status, body, headers = await relayed.get(path)

    assert status == 200 and json.loads(body)["segment"] == 2
    assert "Location" not in headers


async def test_a_bot_challenge_instead_of_a_segment_is_not_cached(relayed):
    path = (await relayed.fetch_segment_paths())[0]
    html = (
        ("Content-Type", "text/html"),
        ("Location", "/x"),
        ("Set-Cookie", "a=b"),
        ("Refresh", "0; url=/"),
    )
    relayed.sandbox.controls.set_fault("segment", Fault(status=200, body="<html>", headers=html))
    for _ in range(3):
        status, body, headers = await relayed.get(path)
        assert (status, body, headers["Content-Type"]) == (200, b"<html>", "video/mp2t")
        assert not {"Location", "Set-Cookie", "Refresh"} & headers.keys()
    relayed.sandbox.controls.set_fault("segment", None)

    assert (await relayed.get(path))[1][:1] == b"G"


async def test_an_upstream_host_missing_in_the_nginx_map_is_refused(component, tmp_path):
    """The edge allows the host, but the map in the nginx configuration does not contain it."""
    async with run_relay_stack(component("nginx"), tmp_path, knows="elsewhere.example") as relayed:
        status, body, headers = await relayed.get((await relayed.fetch_segment_paths())[0])

    assert (status, headers["X-Deny-Reason"]) == (503, "stream-host-not-allowed")
    assert json.loads(body)["reason"] == "stream-host-not-allowed"
    assert relayed.sandbox.controls.calls["segment"] == 0


async def test_ffmpeg_plays_through_nginx(relayed, component):
    frames, errors = await decode_frames(component("ffmpeg"), relayed.play_url(), 12)

    assert frames == pytest.approx(300, abs=2), errors
    assert await relayed.metric("playgate_relayed_bytes_total") == 0


async def test_an_mp4_file_is_fetched_by_range_and_not_cached(relayed):
    """nginx's cache would fetch the whole file for its first range."""
    token = relayed.play_url("x8demo1").partition("token=")[2]
    status, _, headers = await relayed.get(
        f"/play/x8demo1.mp4?token={token}", allow_redirects=False
    )
    path = headers["Location"]
    assert (status, path.startswith("/relay/")) == (302, True)
    status, part, headers = await relayed.get(path, headers={"Range": "bytes=4-7"})
    assert (status, part) == (206, b"ftyp")
    assert headers["Content-Range"] == "bytes 4-7/388941"
    assert list(relayed.sandbox.ranges) == ["bytes=4-7"]
    stale = {"Range": "bytes=4-7", "If-Range": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert (await relayed.get(path, headers=stale))[0] == 200
    assert await relayed.metric("playgate_relayed_bytes_total") == 0

    relayed.sandbox.controls.set_fault("segment", Fault(status=500))
    assert (await relayed.get(path, headers={"Range": "bytes=4-7"}))[0] == 503


# Headers that affect the origin or the whole connection.
UNLISTED_HEADERS = (
    "NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc", "Service-Worker-Allowed", "Set-Cookie",
    "X-Deny-Reason", "Content-Location", "Link", "Refresh", "Clear-Site-Data", "Accept-CH",
    "Strict-Transport-Security", "Permissions-Policy", "Speculation-Rules", "SourceMap", "Via",
    "Cross-Origin-Opener-Policy", "Origin-Agent-Cluster", "X-Request-Id", "Timing-Allow-Origin",
    "Access-Control-Allow-Credentials", "Server-Timing", "WWW-Authenticate", "X-Anything", "Age",
)  # fmt: skip
VIEWER_HEADERS = {
    "accept-ranges", "access-control-allow-origin", "cache-control", "connection",
    "content-length", "content-range", "content-security-policy", "content-type",
    "cross-origin-resource-policy", "date", "etag", "last-modified", "server",
    "transfer-encoding", "x-content-type-options",
}  # fmt: skip


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
async def test_only_listed_headers_of_the_cdn_reach_viewers(relayed, headers):
    """Other headers could change our origin's policies; checked uncached, cached and for a range."""
    path = (await relayed.fetch_segment_paths())[0]
    cdn_headers = (("Content-Type", "video/mp2t"), *((name, "x=y") for name in UNLISTED_HEADERS))
    fault = Fault(status=200, body="x" * 100, headers=cdn_headers)
    relayed.sandbox.controls.set_fault("segment", fault)
    for _ in range(4):  # cached from the second request on
        status, body, received = await relayed.get(path, headers=headers)
        assert (status, len(body)) in {(200, 100), (206, 10)}
        assert {name.lower() for name in received} <= VIEWER_HEADERS
        assert received.getall("Cache-Control") == ["private, max-age=0"]
        assert received["Content-Type"] == "video/mp2t"


def test_nginx_forwards_the_same_headers_as_the_edge():
    script = (ROOT / "deploy" / "relay_headers.js").read_text()
    (listed,) = re.findall(r"const FORWARDED_HEADERS = \[(.*?)\];", script, re.DOTALL)
    nginx_headers = {"connection", "date", "server", "transfer-encoding"}
    assert (
        set(re.findall(r'"([a-z-]+)"', listed))
        == {name.lower() for name in FORWARDED_RESPONSE_HEADERS} | nginx_headers
    )


FINAL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: a=b; Path=/\r\n"
    b"Content-Length: 4\r\n\r\nEVIL"
)
MEDIA = b"Content-Type: video/mp2t\r\nContent-Length: 4\r\n"
# Responses of a hostile CDN by name, each with whether viewers receive it.
HOSTILE_RESPONSES = {
    "good": (b"HTTP/1.1 200 OK\r\n" + MEDIA + b"\r\nEVIL", True),
    "long-header": (
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
    "no-header": (b"<script>EVIL</script>", False),
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
    # Pages get the content type of the path, and a policy under which nothing runs.
    "page": (FINAL, True),
    "page-behind-a-comma": (FINAL.replace(b"text/html", b",text/html"), True),
    "page-before-a-comma": (FINAL.replace(b"text/html", b"text/html,x"), True),
    "page-as-second-type": (
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nEVIL",
        True,
    ),
    "501": (b"HTTP/1.1 501 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "520": (b"HTTP/1.1 520 No\r\n" + MEDIA + b"\r\nEVIL", False),
    "page-in-capitals": (FINAL.replace(b"text/html", b"TEXT/HTML ; charset=x"), True),
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


async def send_hostile_response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the entry of HOSTILE_RESPONSES that the last folder of the path names."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        request_head = await reader.readuntil(b"\r\n\r\n")
        name = request_head.split()[1].decode().split("/")[-2]
        writer.write(HOSTILE_RESPONSES[name][0])
        await writer.drain()
    writer.close()


@pytest.fixture
async def fetch_hostile(component, tmp_path):
    """Yield a function that fetches a hostile response through nginx by its name."""
    (tmp_path / "hostile").mkdir()
    authority, chain = certify(tmp_path / "hostile", "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    server = await asyncio.start_server(send_hostile_response, "127.0.0.1", 0, ssl=tls)
    host = f"localhost:{server.sockets[0].getsockname()[1]}"
    settings = {
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([host]),
        "SSL_CERT_FILE": str(authority),
    }
    async with (
        server,
        run_relay_stack(
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
        key = SealKeys([SANDBOX_SEAL_SECRET]).newest

        async def fetch(name: str) -> bytes:
            path = seal_file(key, session, f"https://{host}/{name}/segment.ts")
            request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            return await send_raw(relayed.nginx.port, request.encode())

        fetch.log = lambda: relayed.nginx.access_log
        yield fetch


async def test_a_hostile_response_is_dropped_or_sandboxed(fetch_hostile):
    """nginx passes on 1xx and non-HTTP responses; their body would act as a response with headers."""
    for name, (_, is_for_viewers) in HOSTILE_RESPONSES.items():
        for _ in range(3):  # cached, if at all, from the second request on
            response = await fetch_hostile(name)
            assert (b"EVIL" in response) is is_for_viewers, (name, response)
            assert not re.search(
                rb"set-cookie|-authenticate|upgrade|gzip", response, re.IGNORECASE
            ), name
            assert response == b"" or response.startswith(b"HTTP/1.1 "), name
            if is_for_viewers:
                assert b"Content-Security-Policy: sandbox" in response, name
                types = re.findall(rb"^Content-Type: (.*)\r$", response, re.MULTILINE)
                assert [kind.partition(b";")[0] for kind in types] == [b"video/mp2t"], name
            elif not response:
                line = fetch_hostile.log().splitlines()[-1]
                logged = json.loads(line)
                assert (logged["status"], logged["reason"]) == (502, "platform-bad-response"), name


async def test_the_edge_sees_the_host_and_port_that_the_viewer_requested(component, tmp_path):
    """The URL of an interstitial's asset begins with them if `web.public_url` is not set."""
    settings = {"PLAYGATE_WEB__PUBLIC_URL": ""}
    async with run_relay_stack(component("nginx"), tmp_path, settings=settings) as relayed:
        async with relayed.session.get(relayed.play_url()) as response:
            playlist = find_relay_paths(await response.read())[0]
        text = (
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n"
            '#EXT-X-DATERANGE:ID="a",START-DATE="2026-11-28T10:00:00Z",X-ASSET-URI="ad.m3u8"\n'
        )
        relayed.sandbox.controls.set_fault(
            "playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
        )
        _, body, _ = await relayed.get(playlist)

    assert f'X-ASSET-URI="//127.0.0.1:{relayed.nginx.port}/relay/'.encode() in body
