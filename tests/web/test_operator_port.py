"""The operator port: minting, health and metrics, none of which the player port serves."""

import re
from itertools import cycle

import pytest
from support import OPERATOR_KEY, ROOT, run_test_edge

from proxy.domain.reasons import Reason
from proxy.web import routes

UNSUPPORTED_METHODS = ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "MKCOL"]
KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}


async def post_token_request(edge, body, headers=None):
    return await edge.get(
        f"{edge.operator}/tokens",
        method="POST",
        data=body,
        headers=KEY if headers is None else headers,
    )


async def test_a_back_end_can_mint_tokens(edge):
    response = await post_token_request(
        edge, '{"video": "x8demo1", "ttl": 60, "ip": "127.0.0.0/24", "sub": "viewer-7"}'
    )

    assert response.status == 201
    assert response.headers["Cache-Control"] == "no-store"
    played = await edge.get(edge.play_url(token=response.json["token"]))
    assert played.status == 302
    assert edge.lines()[-1]["subject"] == "viewer-7"
    assert response.json["expires_at"] > 0
    assert response.json["token"] in response.json["url"]


async def test_a_token_for_every_video_has_no_url(edge):
    response = await post_token_request(edge, '{"video": "*"}')

    assert response.json["url"] is None
    assert (await edge.get(edge.play_url("x8live1", token=response.json["token"]))).status == 302


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {OPERATOR_KEY}"},
        {"Authorization": "Bearer "},
    ],
)
async def test_minting_without_the_operator_key_is_refused(edge, headers):
    response = await post_token_request(edge, '{"video": "x8demo1"}', headers)

    assert (response.status, response.reason) == (401, "operator-key")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}]
)
async def test_minting_is_always_refused_if_no_operator_key_is_set(start_edge, headers):
    edge = await start_edge(operator={"key": ""})

    assert (
        await post_token_request(edge, '{"video": "x8demo1"}', headers)
    ).reason == "operator-key"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ("{}", "video"),
        ('{"video": 7}', "video"),
        ('{"video": "x8demo1", "tll": 5}', "tll"),
        ('{"video": "x8demo1", "ttl": "5"}', "ttl"),
        ('{"video": "x8demo1", "ttl": 0}', "ttl"),
        ('{"video": "x8demo1", "ttl": 3601}', "tokens.max_ttl"),
        ('{"video": "x8demo1", "ip": "here"}', "ip"),
        ('{"video": "x8demo1", "sub": "a b"}', "sub"),
        ('{"video": "../x"}', "video ID"),
        ('{"video": "' + "x" * 20_000 + '"}', "too large"),
    ],
)
async def test_an_invalid_body_gets_400_and_a_message_that_names_the_problem(edge, body, message):
    response = await post_token_request(edge, body)

    assert (response.status, response.reason) == (400, "request-invalid")
    assert message in response.json["detail"]


async def test_a_running_edge_reports_that_it_is_alive_and_ready(edge):
    await edge.play()

    assert (await edge.get(f"{edge.operator}/healthz")).json == {"status": "alive"}
    assert (await edge.get(f"{edge.operator}/readyz", method="HEAD")).status == 200
    ready = await edge.get(f"{edge.operator}/readyz")
    assert (ready.status, ready.json) == (
        200,
        {
            "status": "ready",
            "access_token": True,
            "platform": {},
            "state": None,
            "revocations_age": 0.0,
            "issuers": {},
            "settings": {
                "since": ready.json["settings"]["since"],
                "problems": [],
                "need_restart": [],
                "digest": edge.edge.apps.services.settings_digest,
            },
        },
    )


async def test_the_edge_is_not_ready_before_its_first_access_token(sandbox):
    sandbox.controls.hold("token")
    async with run_test_edge(sandbox) as edge:
        ready = await edge.get(f"{edge.operator}/readyz")
        assert (ready.status, ready.json["status"]) == (503, "starting")
        sandbox.controls.release("token")


@pytest.mark.parametrize(
    "path",
    ["/auth", "/forward-auth", "/metrics", "/healthz", "/readyz", "/tokens", "/revocations"],
)
async def test_operator_routes_are_not_served_on_the_player_port(edge, path):
    for method in ("GET", "POST"):
        assert (await edge.get(f"{edge.player}{path}", method=method, headers=KEY)).status == 404


async def test_plays_are_not_served_on_the_operator_port(edge):
    assert (await edge.get(f"{edge.operator}/play/x8demo1.m3u8?token={edge.mint()}")).status == 404


async def test_the_player_page_is_not_served_if_it_is_disabled(start_edge):
    edge = await start_edge(web={"player_page": False})

    assert (await edge.get(f"{edge.player}/watch/x8demo1")).status == 404
    assert (await edge.get(f"{edge.player}/watch/assets/watch.js")).status == 404


async def test_the_player_page_serves_its_own_files_and_no_others(edge):
    for name in ("watch.js", "watch.css", "hls.min.js"):
        assert (await edge.get(f"{edge.player}/watch/assets/{name}")).status == 200
    for name in ("watch.html", "..%2fheaders.py", "%2e%2e", "x"):
        assert (await edge.get(f"{edge.player}/watch/assets/{name}")).status == 404
    assert (await edge.get(f"{edge.player}/watch/nonsense!")).status == 404


async def test_the_metrics_have_exactly_the_documented_names_and_labels(edge):
    """Metric names are a public interface: record every change in the CHANGELOG."""
    await edge.play()
    await edge.play("x8null")
    await edge.get(f"{edge.operator}/healthz")
    text = (await edge.get(f"{edge.operator}/metrics")).body.decode()
    names: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"(playgate_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$", line):
            labels = set(re.findall(r"(\w+)=", match[2] or "")) - {"le"}
            names.setdefault(match[1], set()).update(labels)

    assert names == {
        "playgate_build_info": {"version"},
        "playgate_http_requests_total": {"route", "method", "code"},
        "playgate_http_request_duration_seconds": {"route"},
        "playgate_http_requests_in_flight": set(),
        "playgate_log_lines_lost_total": set(),
        "playgate_plays_total": {"outcome"},
        "playgate_play_duration_seconds": set(),
        "playgate_play_part_duration_seconds": {"part"},
        "playgate_refusals_total": {"reason"},
        "playgate_viewers_total": {"family"},
        "playgate_upstream_request_duration_seconds": {"operation", "outcome"},
        "playgate_upstream_retries_total": {"operation"},
        "playgate_stream_lookups_total": {"coalesced"},
        "playgate_upstream_calls": {"operation", "state"},
        "playgate_access_token_expiry_timestamp_seconds": set(),
        "playgate_access_token_refresh_timestamp_seconds": set(),
        "playgate_platform_healthy": set(),
        "playgate_clock_skew_seconds": set(),
        "playgate_playlist_checks_total": {"verdict"},
        "playgate_playlist_findings_total": {"rule"},
        "playgate_playlist_check_duration_seconds": set(),
        "playgate_playlist_rewrite_duration_seconds": set(),
        "playgate_playlist_templates_total": {"result"},
        "playgate_relayed_bytes_total": set(),
        "playgate_settings_last_reload_successful": set(),
        "playgate_settings_last_reload_success_timestamp_seconds": set(),
        "playgate_state_request_duration_seconds": {"operation", "outcome"},
        "playgate_state_healthy": set(),
        "playgate_revocations": set(),
        "playgate_revocations_pulled_timestamp_seconds": set(),
    }
    assert "process_resident_memory_bytes" in text
    documented = set(re.findall(r"`(playgate_\w+)`", (ROOT / "docs" / "operations.md").read_text()))
    declared = set(
        re.findall(r'"(playgate_\w+)"', (ROOT / "proxy/adapters/metrics.py").read_text())
    )
    assert documented == declared


async def test_client_input_does_not_create_new_label_values(edge):
    methods = cycle(UNSUPPORTED_METHODS)
    for n in range(20):
        await edge.get(f"{edge.player}/nowhere/{n}")
        await edge.get(f"{edge.player}/play/x8v{n}.m3u8?token=t{n}")
        await edge.get(f"{edge.player}/play/x8demo1.m3u8", method=next(methods))
    series = await edge.metric("playgate_http_requests_total")

    assert set(series) == {
        'code="404",method="GET",route="unmatched"',
        'code="401",method="GET",route="play"',
        'code="405",method="other",route="play"',
    }


def test_the_routes_have_exactly_these_names_paths_and_methods():
    """Routes are a public interface, like metric names."""
    tables = (routes.PLAYER_PORT, routes.PLAYER_PAGE, routes.OPERATOR_PORT)
    served = [
        (route.name, route.path, " ".join(route.handlers)) for table in tables for route in table
    ]

    assert served == [
        ("play", "/play/{video_id}.m3u8", "GET HEAD OPTIONS"),
        ("play-file", "/play/{video_id}.mp4", "GET HEAD OPTIONS"),
        ("probe", "/play/probe", "GET"),
        ("stream-urls", "/stream-urls", "GET OPTIONS"),
        ("relayed-playlist", "/relay/{seal}/playlist.m3u8", "GET HEAD OPTIONS"),
        ("relayed-list", "/relay/{seal}/list.json", "GET HEAD OPTIONS"),
        ("relayed-bytes", "/relay/{path:.*}", "GET HEAD OPTIONS"),
        ("openapi", "/openapi.json", "GET"),
        ("watch", "/watch/{video_id}", "GET"),
        ("details", "/watch/{video_id}/details", "GET"),
        ("asset", "/watch/assets/{name}", "GET"),
        ("auth", "/auth", "*"),
        ("forward-auth", "/forward-auth", "*"),
        ("metrics", "/metrics", "GET"),
        ("healthz", "/healthz", "GET HEAD"),
        ("readyz", "/readyz", "GET HEAD"),
        ("tokens", "/tokens", "POST"),
        ("revocations", "/revocations", "GET POST"),
        ("openapi", "/openapi.json", "GET"),
    ]


def test_every_reason_has_a_heading_and_its_status_in_the_documentation():
    page = (ROOT / "docs" / "reasons.md").read_text()
    documented = re.findall(r"^### ([a-z-]+)\n(\d{3})[.,]", page, re.MULTILINE)

    assert documented == [(str(reason), str(reason.status)) for reason in Reason]
