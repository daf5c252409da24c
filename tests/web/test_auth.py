"""GET /auth as nginx speaks it: 204, 401 or 403, whatever comes."""

import asyncio
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import a_sandbox, an_edge

PATH = "/play/x8abcd.m3u8"
BEHIND = {"viewer": {"trusted_proxies": ["127.0.0.1"]}}


@pytest.fixture
async def edge(sandbox):
    async with an_edge(sandbox, **BEHIND) as running:
        yield running


async def ask(edge, uri=PATH, *, path=None, method="GET", token="x8abcd", **headers):
    given = {
        "X-Original-URI": uri,
        "X-Original-Path": path or uri.split("?")[0],
        "X-Original-Method": method,
    }
    if token is not None:
        given["Authorization"] = f"Bearer {edge.mint(token)}"
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return await edge.get(
        f"{edge.operator}/auth", headers={k: v for k, v in given.items() if v is not None}
    )


async def test_a_token_that_covers_the_path_is_204_and_says_for_whom(edge):
    token = edge.mint("x8abcd", subject="viewer-7")
    answer = await ask(edge, f"{PATH}?token={token}", token=None)

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["X-Playgate-Video"] == "x8abcd"
    assert answer.headers["X-Playgate-Subject"] == "viewer-7"


async def test_a_success_is_counted_and_not_logged_and_a_refusal_is_both(edge):
    await ask(edge)
    assert edge.lines() == []
    await ask(edge, token="x8other")

    (line,) = edge.lines()
    assert (line["route"], line["reason"], line["video"]) == ("auth", "token-video", "x8abcd")
    assert await edge.metric("playgate_refusals_total") == {'reason="token-video"': 1}
    requests = await edge.metric("playgate_http_requests_total")
    assert requests['code="204",method="GET",route="auth"'] == 1


async def test_nothing_is_asked_of_dailymotion(edge, sandbox):
    await ask(edge)

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
async def test_refusals(edge, change, status, reason):
    answer = await ask(edge, **change)

    assert (answer.status, answer.reason) == (status, reason)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_methods_with_a_token_are_allowed(edge, method):
    assert (await ask(edge, method=method)).status == 204
    assert (await ask(edge, method=method, token=None)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-"},
        {"If_None_Match": "*"},
        {"If_Modified_Since": "Fri, 20 Nov 2099 00:00:00 GMT"},
    ],
)
async def test_range_and_conditional_headers_change_nothing(edge, headers):
    assert (await ask(edge, **headers)).status == 204


async def test_a_peer_that_is_not_trusted_is_refused_with_perfect_headers(edge):
    headers = {
        "X-Original-URI": PATH, "X-Original-Path": PATH, "X-Original-Method": "GET",
        "Authorization": f"Bearer {edge.mint('x8abcd')}", "X-Forwarded-For": "127.0.0.1",
    }  # fmt: skip
    answer = await edge.get(f"{edge.operator}/auth", source="127.0.0.2", headers=headers)

    assert (answer.status, answer.reason) == (403, "peer-untrusted")


async def test_the_viewer_is_who_the_proxy_names(edge):
    token = edge.mint("x8abcd", network=ip_network("203.0.113.0/24"))
    near = await ask(edge, f"{PATH}?token={token}", token=None, X_Forwarded_For="203.0.113.9")
    far = await ask(
        edge, f"{PATH}?token={token}", token=None, X_Forwarded_For="203.0.113.9, 203.0.114.9"
    )

    assert near.status == 204
    assert (far.status, far.reason) == (403, "token-network")


async def test_a_private_id_is_in_no_header_and_no_line(edge):
    video = "kPrivateIdOfSomebody"
    good = await ask(edge, f"/play/{video}.m3u8", token=video)
    await ask(edge, f"/play/{video}.m3u8", token="x8abcd")
    await edge.play(video, headers={"X-Forwarded-For": "127.0.0.5"})

    assert good.status == 204
    assert "PrivateId" not in str(good.headers) + edge.log.getvalue()


async def raw(edge, *lines: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.edge.operator.port)
    head = [b"GET /auth HTTP/1.0", b"Host: x", *lines, b"", b""]
    writer.write(b"\r\n".join(head))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


ORIGINAL = [b"X-Original-Path: /play/x8abcd.m3u8", b"X-Original-Method: GET"]


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
async def test_strange_headers_are_denied(edge, lines):
    token = b"Authorization: Bearer " + edge.mint("x8abcd").encode()
    answer = await raw(edge, *ORIGINAL, *lines, token)

    assert answer.startswith(b"HTTP/1.0 403"), answer
    assert b"path-not-covered" in answer


@pytest.mark.parametrize(
    "line", [b"X-Original-URI: /play/\x00.m3u8", b"X-Original-URI: /a\rb", b"no colon"]
)
async def test_what_is_no_http_at_all_is_never_allowed(edge, line):
    answer = await raw(
        edge, *ORIGINAL, line, b"Authorization: Bearer " + edge.mint("x8abcd").encode()
    )

    assert not answer.startswith((b"HTTP/1.0 2", b"HTTP/1.1 2"))


async def test_any_method_of_the_subrequest_itself_is_answered_the_same(edge):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert (await edge.get(f"{edge.operator}/auth", method=method)).status == 403


async def test_a_bug_leaves_as_403_and_not_as_500(edge, monkeypatch):
    monkeypatch.setattr(edge.edge.apps.services.admission, "admit", lambda *_a, **_k: 1 / 0)
    answer = await ask(edge)

    assert (answer.status, answer.reason) == (403, "internal")


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
def test_only_204_401_and_403_ever_leave(any_edge, uri, method):
    headers = {
        "X-Original-URI": uri,
        "X-Original-Path": uri.split("?")[0],
        "X-Original-Method": method,
    }
    status = any_edge(headers)

    assert status in {204, 401, 403}


@pytest.fixture
def any_edge():
    """A function that asks an edge of its own loop, for Hypothesis, whose tests are not async."""
    loop = asyncio.new_event_loop()
    stack: list[object] = []

    async def up():
        sandbox = a_sandbox()
        running = an_edge(await sandbox.__aenter__(), **BEHIND)
        stack.extend([running, sandbox])
        return await running.__aenter__()

    async def down():
        for context in stack:
            await context.__aexit__(None, None, None)

    edge = loop.run_until_complete(up())

    def status(headers):
        return loop.run_until_complete(edge.get(f"{edge.operator}/auth", headers=headers)).status

    yield status
    loop.run_until_complete(down())
    loop.close()
