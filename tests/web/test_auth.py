"""GET /auth, as nginx requests it: always 204, 401 or 403."""

import asyncio
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import run_test_edge, run_test_sandbox

PATH = "/play/x8abcd.m3u8"
BEHIND_PROXY = {"viewer": {"trusted_proxies": ["127.0.0.1"]}}


@pytest.fixture
async def edge(sandbox):
    async with run_test_edge(sandbox, **BEHIND_PROXY) as running:
        yield running


async def request_auth(edge, uri=PATH, *, path=None, method="GET", token="x8abcd", **headers):
    all_headers = {
        "X-Original-URI": uri,
        "X-Original-Path": path or uri.split("?")[0],
        "X-Original-Method": method,
    }
    if token is not None:
        all_headers["Authorization"] = f"Bearer {edge.mint(token)}"
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await edge.get(
        f"{edge.operator}/auth",
        headers={name: value for name, value in all_headers.items() if value is not None},
    )


async def test_a_token_that_covers_the_path_gets_204_with_its_video_and_subject(edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    response = await request_auth(edge, f"{PATH}?token={token}", token=None)

    assert (response.status, response.body) == (204, b"")
    assert response.headers["X-Playgate-Video"] == "x8abcd"
    assert response.headers["X-Playgate-Subject"] == "viewer-7"


async def test_all_requests_are_counted_but_only_refusals_are_logged(edge):
    await request_auth(edge)
    assert edge.lines() == []
    await request_auth(edge, token="x8other")

    (line,) = edge.lines()
    assert (line["route"], line["reason"], line["video"]) == ("auth", "token-video", "x8abcd")
    assert await edge.metric("playgate_refusals_total") == {'reason="token-video"': 1}
    requests = await edge.metric("playgate_http_requests_total")
    assert requests['code="204",method="GET",route="auth"'] == 1


async def test_auth_sends_no_request_to_dailymotion(edge, sandbox):
    await request_auth(edge)

    assert sandbox.controls.calls["video"] == 0


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"token": None}, 401, "token-missing"),
        ({"token": "x8other"}, 403, "token-video"),
        ({"X_Original_URI": None}, 403, "path-not-covered"),
        ({"X_Original_URI": ""}, 403, "path-not-covered"),
        ({"X_Original_Path": None}, 403, "path-not-covered"),
        ({"X_Original_Method": None}, 403, "path-not-covered"),
        ({"method": "POST"}, 403, "path-not-covered"),
        ({"method": "BREW"}, 403, "path-not-covered"),
        ({"uri": "/elsewhere"}, 403, "path-not-covered"),
        ({"uri": "play/x8abcd.m3u8"}, 403, "path-not-covered"),
        ({"uri": "/elsewhere?/play/x8abcd.m3u8", "path": "/elsewhere"}, 403, "path-not-covered"),
        ({"path": "/play/x8other.m3u8"}, 403, "path-not-covered"),
        ({"X_Forwarded_For": "unknown"}, 403, "viewer-private"),
        ({"User_Agent": "kube-probe/1.29", "token": None}, 401, "token-missing"),
        ({"X_Forwarded_Uri": PATH, "X_Original_URI": None}, 403, "path-not-covered"),
        ({"X_Forwarded_Uri": PATH, "uri": "/elsewhere"}, 403, "path-not-covered"),
    ],
)
async def test_an_invalid_request_is_refused_with_its_reason(edge, change, status, reason):
    response = await request_auth(edge, **change)

    assert (response.status, response.reason) == (status, reason)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_get_head_and_options_are_allowed_only_with_a_token(edge, method):
    assert (await request_auth(edge, method=method)).status == 204
    assert (await request_auth(edge, method=method, token=None)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-"},
        {"If_None_Match": "*"},
        {"If_Modified_Since": "Fri, 20 Nov 2099 00:00:00 GMT"},
    ],
)
async def test_range_and_conditional_headers_do_not_change_the_result(edge, headers):
    assert (await request_auth(edge, **headers)).status == 204


async def test_an_untrusted_peer_is_refused_even_with_valid_headers(edge):
    headers = {
        "X-Original-URI": PATH, "X-Original-Path": PATH, "X-Original-Method": "GET",
        "Authorization": f"Bearer {edge.mint('x8abcd')}", "X-Forwarded-For": "127.0.0.1",
    }  # fmt: skip
    response = await edge.get(f"{edge.operator}/auth", source="127.0.0.2", headers=headers)

    assert (response.status, response.reason) == (403, "peer-untrusted")


async def test_the_viewer_is_the_address_that_the_proxy_names(edge):
    token = edge.mint("x8abcd", network=ip_network("203.0.113.0/24"))
    url = f"{PATH}?token={token}"
    inside = await request_auth(edge, url, token=None, X_Forwarded_For="203.0.113.9")
    outside = await request_auth(edge, url, token=None, X_Forwarded_For="203.0.113.9, 203.0.114.9")

    assert inside.status == 204
    assert (outside.status, outside.reason) == (403, "token-network")


async def test_a_private_video_id_is_in_no_header_and_no_log_line(edge):
    video = "kPrivateIdOfSomebody"
    allowed = await request_auth(edge, f"/play/{video}.m3u8", token=video)
    await request_auth(edge, f"/play/{video}.m3u8", token="x8abcd")
    await edge.play(video, headers={"X-Forwarded-For": "127.0.0.5"})

    assert allowed.status == 204
    assert "PrivateId" not in str(allowed.headers) + edge.log.getvalue()


async def send_raw(edge, *header_lines: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.edge.operator.port)
    lines = [b"GET /auth HTTP/1.0", b"Host: x", *header_lines, b"", b""]
    writer.write(b"\r\n".join(lines))
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


OTHER_HEADERS = [b"X-Original-Path: /play/x8abcd.m3u8", b"X-Original-Method: GET"]


@pytest.mark.parametrize(
    "lines",
    [
        [b"X-Original-URI: /play/x8abcd.m3u8", b"X-Original-URI: /play/x8abcd.m3u8"],
        [b"X-Original-URI: /play/x8other.m3u8", b"X-Original-URI: /play/x8abcd.m3u8"],
        [b"X_Original_URI: /play/x8abcd.m3u8"],
        [b"X-Original-Url: /play/x8abcd.m3u8"],
        [b"X-Original-URI: /play/\xff\xfe.m3u8"],
        [b"X-Original-URI: /play/x8abcd.m3u8\xc3\xa9"],
        [b"X-Original-URI:"],
        [b"X-Original-URI: /play/x8abcd.m3u8", b"X-Original-Path: /play/x8abcd.m3u8"],
        [b"X-Original-URI: " + b"/a" * 4000],
    ],
)
async def test_ambiguous_or_malformed_original_headers_are_refused(edge, lines):
    token = b"Authorization: Bearer " + edge.mint("x8abcd").encode()
    response = await send_raw(edge, *OTHER_HEADERS, *lines, token)

    assert response.startswith(b"HTTP/1.0 403"), response
    assert b"path-not-covered" in response


@pytest.mark.parametrize(
    "line", [b"X-Original-URI: /play/\x00.m3u8", b"X-Original-URI: /a\rb", b"no colon"]
)
async def test_malformed_http_is_never_allowed(edge, line):
    response = await send_raw(
        edge, *OTHER_HEADERS, line, b"Authorization: Bearer " + edge.mint("x8abcd").encode()
    )

    assert not response.startswith((b"HTTP/1.0 2", b"HTTP/1.1 2"))


async def test_every_method_of_the_subrequest_gets_the_same_status(edge):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert (await edge.get(f"{edge.operator}/auth", method=method)).status == 403


async def test_an_unexpected_exception_gets_403_instead_of_500(edge, monkeypatch):
    monkeypatch.setattr(edge.edge.apps.services.admission, "admit", lambda *_a, **_k: 1 / 0)
    response = await request_auth(edge)

    assert (response.status, response.reason) == (403, "internal")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    uri=st.text(
        st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"),
        max_size=80,
    ),
    method=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=10),
)
def test_the_status_is_always_204_401_or_403(get_auth_status, uri, method):
    headers = {
        "X-Original-URI": uri,
        "X-Original-Path": uri.split("?")[0],
        "X-Original-Method": method,
    }
    status = get_auth_status(headers)

    assert status in {204, 401, 403}


@pytest.fixture
def get_auth_status():
    """A function that requests /auth from an edge in an event loop of its own.

    Hypothesis needs it, because its tests are not async.
    """
    loop = asyncio.new_event_loop()
    contexts: list[object] = []

    async def start():
        sandbox = run_test_sandbox()
        running = run_test_edge(await sandbox.__aenter__(), **BEHIND_PROXY)
        contexts.extend([running, sandbox])
        return await running.__aenter__()

    async def stop():
        for context in contexts:
            await context.__aexit__(None, None, None)

    edge = loop.run_until_complete(start())

    def get_status(headers):
        return loop.run_until_complete(edge.get(f"{edge.operator}/auth", headers=headers)).status

    yield get_status
    loop.run_until_complete(stop())
    loop.close()
