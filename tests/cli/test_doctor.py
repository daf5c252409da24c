"""`playgate doctor`: the result and the next step for each fault, caused on purpose."""

import ast
import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from string import Formatter
from typing import get_args

import pytest
from account_settings import log_in
from aiohttp import web
from certificates import certify
from nginx_server import BEHIND, run_deployed_nginx
from ports import free_port
from processes import playgate, run_command
from support import ROOT, SANDBOX_TOML, run_test_edge, serve_app, wait_until
from yarl import URL

from proxy.cli.doctor import this_machine
from proxy.cli.doctor.command import collect_results
from proxy.cli.doctor.platform import assess_clock
from proxy.cli.doctor.play import assess_play
from proxy.cli.doctor.public_url import (
    FORGED_ADDRESS,
    PublicResponse,
    assess_cors,
    assess_forwarding,
)
from proxy.cli.doctor.results import TEXTS
from proxy.cli.doctor.this_machine import check_host
from proxy.cli.options import print_result
from proxy.domain.reasons import Reason, Refusal
from proxy.sandbox.controls import Fault
from proxy.sandbox.server import run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.settings import SettingsInvalid, load_settings
from proxy.settings.platform import UrlFlag
from proxy.settings.settings_diff import compute_digest

ALL_WELL = ["settings", "edge", "hosts", "clock", "credentials", "scopes", "echo", "stream", "cdn", "cdn", "cors", "families", "egress", "play", "public", "cors", "forwarding"]  # fmt: skip


@pytest.fixture
def run_checks(sandbox, monkeypatch):
    """Return a function that runs the checks on an edge with some settings changed."""

    async def run(
        edge=None,
        *,
        video: str | None = None,
        ip: str | None = None,
        is_another: bool = False,
        **settings,
    ):
        env = {
            "PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/v1/token",
            "PLATFORM__REST_URL": f"{sandbox.origin}/rest",
            "PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
            "WEB__PUBLIC_URL": edge.player if edge else "http://127.0.0.1:1",
            "OPERATOR__LISTEN": str(edge.edge.operator) if edge else "127.0.0.1:1",
            **settings,
        }
        for name, value in env.items():
            monkeypatch.setenv(f"PLAYGATE_{name}", value)
        if edge is not None:
            await wait_until(lambda: edge.edge.apps.process.telemetry.health.has_access_token)
            if not is_another:
                run_these_settings(edge)
        return await collect_results(SANDBOX_TOML, video, ip, quiet=True)

    return run


def run_these_settings(edge) -> None:
    """Make an edge report the digest of the settings that doctor reads.

    These settings have the ports in environment variables.
    """
    current = edge.edge.apps.services_ref
    with suppress(SettingsInvalid):
        digest = compute_digest(load_settings(SANDBOX_TOML))
        current.services = replace(current.services, settings_digest=digest)


def problems(results) -> dict[str, str]:
    return {
        result.check: f"{result.status}: {result.text} → {result.next_step}"
        for result in results
        if result.status != "ok"
    }


async def test_every_check_passes_if_all_is_well(edge, run_checks):
    results = await run_checks(edge, video="x8demo1", ip="127.0.0.7")

    assert problems(results) == {}
    assert [result.check for result in results] == ALL_WELL


async def test_an_edge_that_runs_other_settings_is_not_called_ready(edge, run_checks):
    """For example a demo on the operator port of these settings."""
    results = problems(await run_checks(edge, is_another=True))

    assert "warn: the edge at 127.0.0.1:" in results["edge"]
    assert "runs with other settings than this command" in results["edge"]


def test_a_refused_player_on_this_machine_is_a_warning():
    """That player is refused as viewer-private; a viewer with a public address can play."""
    local = IPv4Address("127.0.0.1")
    results = assess_play("would be redirected", local, "refuse", loopback_viewers=False)

    assert results.status == "warn"
    assert "a viewer with a public address would be redirected" in results.text
    assert "a player on this machine gets 403 viewer-private" in results.text
    assert 'private = "omit" under [viewer]' in results.next_step
    for viewer, private, is_sandbox in (
        (local, "pass", True),
        (local, "omit", False),
        (IPv4Address("8.8.8.8"), "refuse", False),
    ):
        results = assess_play("would be relayed", viewer, private, loopback_viewers=is_sandbox)
        assert (results.status, results.text) == ("ok", "would be relayed")


@pytest.mark.parametrize(
    ("settings", "check", "says"),
    [
        ({"PLATFORM__API_SECRET": "wrong"}, "credentials", "fail: platform-credentials"),
        ({"PLATFORM__API_KEY": "sandbox-public"}, "credentials", "this grant needs a private API key"),
        ({"PLATFORM__SCOPE": "userinfo"}, "stream", "Generate stream URLs"),
        ({"PLATFORM__NO_IP_LOCK": "true"}, "settings", "warn: platform.no_ip_lock is true"),
        ({"PLATFORM__NO_EXPIRE": "true"}, "settings", "warn: platform.no_expire is true"),
        ({"PLATFORM__REST_URL": "http://127.0.0.1:1"}, "hosts", "fail: 127.0.0.1:1: cannot connect"),
        ({"PLATFORM__REST_URL": "http://127.0.0.1:1"}, "clock", "fail: platform-unreachable"),
        ({"PLATFORM__EGRESS_IP": "127.0.0.9"}, "cdn", "warn: HTTP 403 for a stream URL that was issued for this machine"),
        ({"PLATFORM__ALLOWED_HOSTS": '["dmcdn.net"]'}, "stream", "add it to platform.allowed_hosts"),
        ({"DELIVERY__CDN_FAMILIES": '["ipv4","ipv6"]'}, "families", "warn: the CDN has ipv4 only, as"),
        ({"OPERATOR__LISTEN": "127.0.0.1:1"}, "edge", "warn: no edge is running at 127.0.0.1:1"),
        ({"OPERATOR__KEY": ""}, "forwarding", "warn: not checked: operator.key is not set"),
        ({"OPERATOR__KEY": "k" * 20}, "forwarding", "fail: the edge refused this command's signed test request (HTTP 404)"),
        ({"WEB__PUBLIC_URL": ""}, "public", "warn: web.public_url is not set"),
        ({"WEB__PUBLIC_URL": "http://127.0.0.1:1"}, "public", "fail: http://127.0.0.1:1 does not respond (refused"),
        ({"PLATFORM__API_KEY": ""}, "settings", "platform.api_key (PLAYGATE_PLATFORM__API_KEY): is empty"),
        ({"PLATFORM__API_KEY": ""}, "edge", "An edge that is already running keeps its previous settings"),
    ],
)  # fmt: skip
async def test_a_fault_in_the_settings_is_reported(edge, run_checks, settings, check, says):
    results = problems(await run_checks(edge, video="x8demo1", **settings))

    assert says in results[check]
    assert "wrong" not in str(results) and "sandbox-secret" not in str(results)


@pytest.mark.parametrize(
    ("video", "says"),
    [
        (
            "x8null",
            "fail: stream-unavailable (video: stream URL is null, status processing) → In Dailymotion Studio, check that the video",
        ),
        (
            "x8offair",
            "fail: live-off-air (video: stream URL is null, live and not onair) → Start the live",
        ),
        ("x8geo", "fail: video-geoblocked"),
        ("x8private", "fail: video-private"),
        ("x8password", "fail: video-password"),
        ("x8forbidden", "fail: platform-permission"),
        ("x8missing", "fail: video-not-found"),
        ("x8elsewhere", "fail: stream-host-not-allowed"),
        ("x8throttled", "fail: platform-throttled"),
    ],
)
async def test_a_fault_of_the_video_is_reported(edge, run_checks, video, says):
    assert says in problems(await run_checks(edge, video=video))["stream"]


@pytest.mark.parametrize(
    ("video", "check", "says"),
    [
        ("x8empty", "cdn", "fail: no player can play this playlist (variants-none"),
        ("x8robot", "cdn", "fail: HTTP 200, and the response is not a playlist"),
        (None, "stream", "warn: not checked: no video was"),
    ],
)
async def test_an_invalid_playlist_of_the_cdn_is_reported(edge, run_checks, video, check, says):
    assert says in problems(await run_checks(edge, video=video))[check]


@pytest.mark.parametrize(
    ("ip", "private", "check", "says"),
    [
        (
            "10.0.0.5",
            "refuse",
            "stream",
            "refuses private addresses) → A stream cannot be locked to this address.",
        ),
        (
            "2001:db8::5",
            "pass",
            "families",
            "fail: the CDN has ipv4 only, and 2001:db8::5 is an IPv6",
        ),
    ],
)
async def test_a_viewer_is_checked_as_by_the_edge(edge, run_checks, *, ip, private, check, says):
    settings = {"VIEWER__PRIVATE": private, "DELIVERY__CDN_FAMILIES": '["ipv4","ipv6"]'}
    results = await run_checks(edge, video="x8demo1", ip=ip, **settings)

    assert says in problems(results)[check]


@pytest.mark.parametrize(
    ("video", "settings", "fault", "says"),
    [
        ("x8demo1", {}, None, "ok: would be relayed"),
        ("x8empty", {}, None, "fail: playlist-invalid (variants-none"),
        ("x8robot", {}, None, "fail: platform-bad-response (CDN: the response is not a playlist) → Run playgate inspect"),
        ("x8demo1", {}, Fault(status=403), "→ See the result of the check named cdn above"),
        ("x8demo1", {}, Fault(status=404), "→ The CDN does not have the stream"),
        ("x8demo1", {"DELIVERY__MODE": "validate"}, Fault(status=403), "warn: would be redirected without a check of the playlist: platform-bad-response"),
        ("x8empty", {"DELIVERY__MODE": "validate"}, None, "fail: playlist-invalid (variants-none"),
        ("x8empty", {"DELIVERY__MODE": "redirect"}, None, "ok: would be redirected"),
    ],
)  # fmt: skip
async def test_the_play_check_gives_the_outcome_of_the_edge(
    sandbox, run_checks, *, video, settings, fault, says
):
    sandbox.controls.set_fault("playlist", fault)
    results = await run_checks(
        video=video, ip="127.0.0.7", **{"DELIVERY__MODE": "relay", **settings}
    )
    (play,) = [
        f"{result.status}: {result.text} → {result.next_step}"
        for result in results
        if result.check == "play"
    ]

    assert says in play


@pytest.mark.parametrize(
    "settings", [{"DELIVERY__MODE": "relay"}, {"DELIVERY__CDN_FAMILIES": '["ipv4"]'}]
)
async def test_a_relayed_play_does_not_need_cors_or_the_viewers_address_family(
    sandbox, run_checks, settings
):
    text = await plain_playlist(sandbox)
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text))  # without CORS
    results = await run_checks(
        video="x8demo1", ip="2001:db8::5", VIEWER__PRIVATE="pass", **settings
    )

    assert set(problems(results)) == {"edge", "public"}  # no edge is running


async def plain_playlist(sandbox) -> str:
    async with run_test_edge(sandbox) as edge:
        return (await edge.get((await edge.play()).location)).body.decode()


async def test_an_edge_that_refuses_every_viewer_is_recognized_as_an_edge(sandbox, run_checks):
    """As with an untrusted proxy and the default of viewer.private."""
    async with run_test_edge(sandbox, viewer={"private": "refuse"}) as edge:
        results = await run_checks(edge, video="x8demo1")

        assert "public" not in problems(results)
        assert "forwarding" in [result.check for result in results]


@pytest.mark.parametrize("body", ["{}", "[1]", '{"status": "ready", "platform": []}', "<html>"])
async def test_another_server_at_the_operator_port_is_reported(run_checks, body):
    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(text=body)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    async with serve_app(app) as origin:
        results = await run_checks(OPERATOR__LISTEN=URL(origin).authority)

        assert "warn: the server at" in problems(results)["edge"]


async def test_a_server_that_does_not_respond_is_reported(run_checks, monkeypatch):
    monkeypatch.setattr(this_machine, "CHECK_TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        results = problems(await run_checks(OPERATOR__LISTEN=f"127.0.0.1:{mute.getsockname()[1]}"))

    assert "accepts connections but does not respond → Find that process" in results["edge"]


async def test_a_server_that_does_not_speak_http_is_reported(run_checks):
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        results = problems(await run_checks(OPERATOR__LISTEN=f"127.0.0.1:{port}"))

    assert "is not an edge of this version → Stop that server" in results["edge"]


async def test_an_edge_that_still_uses_old_credentials_must_be_restarted_first(edge, run_checks):
    health = edge.edge.apps.process.telemetry.health
    await edge.play()  # fetches an access token first
    health.record_refusal("token", Refusal(Reason.PLATFORM_CREDENTIALS))
    health.settings_status = replace(health.settings_status, need_restart=("platform.api_secret",))
    results = [result for result in await run_checks(edge) if result.check == "edge"]

    assert (
        results[0].text
        == "changed settings that take effect only after a restart: platform.api_secret"
    )
    assert results[1].text.startswith("token calls have failed since")
    assert results[1].next_step.startswith("Restart the edge first")


def test_the_settings_digest_covers_the_content_of_key_files(tmp_path):
    file, jwks = tmp_path / "key", tmp_path / "keys.json"
    digests = set()
    for letter in "ab":
        file.write_text(letter * 40)
        jwk = {"kty": "oct", "k": letter * 48, "alg": "HS256", "kid": "c"}
        jwks.write_text(json.dumps({"keys": [jwk]}))
        for tables in (
            {"tokens": {"keys": [{"kid": "k", "alg": "HS256", "file": str(file)}]}},
            {"tokens": {"jwks_file": str(jwks)}},
            {"relay": {"keys": [{"file": str(file)}]}},
        ):
            digests.add(compute_digest(load_settings(SANDBOX_TOML, **tables)))

    assert len(digests) == 6


def test_the_settings_digest_covers_every_setting_and_secret():
    """Except settings that differ between instances, and settings that no edge uses."""
    base = compute_digest(load_settings(SANDBOX_TOML))
    changes = [
        {"operator": {"key": "another-key-of-16-characters"}},
        {"platform": {"api_secret": "another"}},
        {"tokens": {"max_ttl": 600}},
        {"tokens": {"keys": [{"kid": "sandbox", "alg": "HS256", "secret": "s" * 32}]}},
    ]
    digests = [compute_digest(load_settings(SANDBOX_TOML, **change)) for change in changes]

    assert len({base, *digests}) == 1 + len(changes)
    own = {"web": {"listen": "127.0.0.1:1"}, "operator": {"listen": "127.0.0.1:2"}}
    own["videos"] = {"api_secret": "another"}
    assert compute_digest(load_settings(SANDBOX_TOML, **own)) == base


async def test_terminal_escapes_from_the_api_are_not_printed(edge, run_checks, sandbox, capsys):
    body = '{"id": "\\u001b]0;pwned\\u0007\\n[ok]", "scope": []}'
    sandbox.controls.set_fault("account", Fault(status=200, body=body))
    for result in await run_checks(edge):
        print_result(result)

    printed = capsys.readouterr().out
    assert "pwned" in printed and "\x1b]0" not in printed and "\n[ok]" not in printed


async def test_a_cdn_without_cors_headers_is_reported(edge, run_checks, sandbox):
    sandbox.controls.set_fault("playlist", Fault(status=200, body="#EXTM3U\n"))
    results = problems(await run_checks(edge, video="x8demo1"))

    assert "Set delivery.mode to relay" in results["cors"]


async def test_outages_that_the_edge_reports_are_shown(sandbox, edge, run_checks):
    await edge.play()
    sandbox.controls.set_fault("video", Fault(status=500))
    await edge.play()
    sandbox.controls.set_fault("video", None)
    results = problems(await run_checks(edge, video="x8demo1"))

    assert "fail: video calls have failed since" in results["edge"]
    assert "stream" not in results


async def test_another_server_at_the_public_url_is_reported(edge, run_checks, sandbox):
    results = problems(await run_checks(edge, WEB__PUBLIC_URL=sandbox.origin))

    assert "(HTTP 404, no X-Deny-Reason)" in results["public"]


async def test_a_private_id_is_not_shown(edge, run_checks):
    results = await run_checks(edge, video="k8demoPrivateKnownToYou")

    assert "k8demoPrivate" not in str(results) and any("k-" in result.text for result in results)


async def test_a_login_file_that_other_users_can_read_is_reported(
    sandbox, edge, run_checks, tmp_path
):
    file = tmp_path / "login.json"
    account = log_in(sandbox, file)
    file.chmod(0o644)
    env = {f"PLATFORM__{name.upper()}": value for name, value in account.items()}
    env["PLATFORM__TOKEN_URL"] = f"{sandbox.origin}/oauth/token"
    results = problems(await run_checks(edge, PLATFORM__REST_URL=sandbox.origin, **env))

    assert f"Run chmod 600 {file}" in results["settings"]
    assert "credentials" not in results


async def test_api_v2_passes_the_checks_that_it_supports(sandbox, run_checks):
    async with run_test_edge(sandbox, platform={"api": "v2"}) as edge:
        results = await run_checks(
            edge,
            video="x8demo1",
            PLATFORM__API="v2",
            PLATFORM__TOKEN_URL=f"{sandbox.origin}/v2/token",
            PLATFORM__REST_URL=f"{sandbox.origin}/v2",
        )

        assert problems(results) == {}


SEEN = {"viewer": "203.0.113.7", "peer": "10.0.0.2", "peer_is_trusted": True, "header": "X-Forwarded-For", "forwarded": ["203.0.113.7"]}  # fmt: skip


class TestForwarding:
    """The viewer address that the edge sees, with and without real proxies."""

    async def test_every_check_passes_behind_the_shipped_nginx_configuration(
        self, sandbox, component, run_checks, tmp_path
    ):
        async with (
            run_test_edge(sandbox, **BEHIND) as edge,
            run_deployed_nginx(component("nginx"), tmp_path, [edge.edge.player.port] * 2, [edge.edge.operator.port] * 2) as nginx,
        ):  # fmt: skip
            results = await run_checks(edge, video="x8demo1", WEB__PUBLIC_URL=nginx.origin)

            assert problems(results) == {}
            assert results[-1].text == "the edge sees this machine as 127.0.0.1, through 127.0.0.1"
            assert "token=" not in nginx.access_log

    async def test_a_forgeable_viewer_address_is_reported(self, sandbox, run_checks):
        async with run_test_edge(sandbox, viewer={"trusted_proxies": ["127.0.0.1"]}) as edge:
            results = problems(await run_checks(edge))

            assert "viewers can forge their address" in results["forwarding"]

    @pytest.mark.parametrize(
        ("changes", "status", "says"),
        [
            ({"viewer": "93.184.216.34", "forwarded": ["93.184.216.34"]}, "ok", "as 93.184.216.34"),
            ({"viewer": "93.184.216.34", "peer_is_trusted": False, "forwarded": [FORGED_ADDRESS]}, "ok", "sees"),
            ({"viewer": FORGED_ADDRESS, "forwarded": [FORGED_ADDRESS]}, "fail", "can forge their address"),
            ({"viewer": None, "forwarded": []}, "fail", "sends no viewer address"),
            ({"viewer": "10.0.0.2", "forwarded": [f"{FORGED_ADDRESS}, 1.2.3.4"], "peer_is_trusted": False}, "fail", "If 10.0.0.2 is your proxy, add it to viewer.trusted_proxies"),
            ({"viewer": "10.0.0.2", "forwarded": ["10.0.0.2"]}, "fail", "which is private"),
        ],
    )  # fmt: skip
    def test_each_forwarding_fault_has_its_next_step(self, changes, status, says):
        seen = {**SEEN, **changes}
        result = assess_forwarding(seen, "refuse", loopback_viewers=False)

        assert result.status == status
        assert says in f"{result.text} {result.next_step}"


@pytest.mark.parametrize(
    ("viewer", "private", "status"),
    [
        ("10.0.0.2", "refuse", "fail"),
        ("10.0.0.2", "omit", "warn"),
        ("10.0.0.2", "pass", "warn"),
        ("127.0.0.1", "pass", "fail"),
        ("127.0.0.1", "omit", "warn"),
    ],
)
def test_a_private_viewer_address_is_checked_as_by_the_edge(viewer, private, status):
    seen = {**SEEN, "viewer": viewer, "forwarded": [viewer]}

    assert assess_forwarding(seen, private, loopback_viewers=False).status == status


@pytest.mark.parametrize(
    ("denied", "preflight", "status"),
    [("*", "*", "ok"), ("", "*", "fail"), ("*", "", "fail"), ("https://a.example", "*", "fail")],
)
def test_missing_cors_headers_are_reported(denied, preflight, status):
    def build_response(code: int, origin: str) -> PublicResponse:
        return PublicResponse(
            status=code, headers={"Access-Control-Allow-Origin": origin} if origin else {}
        )

    assert assess_cors(build_response(401, denied), build_response(204, preflight)).status == status


@pytest.mark.parametrize(
    ("ahead", "status", "says"),
    [
        (0.0, "ok", "agrees"),
        (5.0, "ok", "agrees"),
        (6.0, "warn", "6 s ahead of"),
        (-10.0, "warn", "10 s behind"),
        (999.0, "fail", "999 s ahead of"),
        (-999.0, "fail", "999 s behind"),
        (None, "warn", "has no Date"),
    ],
)
def test_a_wrong_clock_is_reported(ahead, status, says):
    result = assess_clock(ahead)

    assert (result.status, says in result.text) == (status, True)


async def test_dns_connection_and_certificate_of_a_host_are_checked(tmp_path, monkeypatch):
    authority, chain = certify(tmp_path, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    async with run_sandbox(Sandbox(), tls=tls) as sandbox:
        url = URL(sandbox.origin)
        assert (
            "the TLS handshake failed"
            in (await check_host("hosts", url, socket.AF_INET, "ipv4")).text
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        result = await check_host("hosts", url, socket.AF_INET, "ipv4")
        assert "TLSv1.3, certificate valid until 20" in result.text
    gone = await check_host("hosts", URL(f"http://127.0.0.1:{free_port()}"), socket.AF_INET, "ipv4")
    assert "cannot connect" in gone.text
    unknown = await check_host("hosts", URL("https://nowhere.invalid"), socket.AF_INET, "ipv4")
    assert unknown.text == "nowhere.invalid: no ipv4 address in DNS"


async def test_the_command_exits_with_1_after_a_failure_and_prints_json(edge, sandbox):
    env = {
        "PLAYGATE_CONFIG": str(SANDBOX_TOML),
        "PLAYGATE_WEB__PUBLIC_URL": edge.player,
        "PLAYGATE_OPERATOR__LISTEN": str(edge.edge.operator),
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/v1/token",
        "PLAYGATE_PLATFORM__REST_URL": f"{sandbox.origin}/rest",
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
    }
    for video, code in (("x8demo1", 0), ("x8null", 1)):
        command = playgate("doctor", "--video", video, "--json")
        exit_code, output = await run_command(*command, env=env)
        body = json.loads(output)
        assert (exit_code, body["ok"]) == (code, code == 0)
        assert set(body["checks"][0]) == {"check", "status", "text", "next_step"}
    exit_code, output = await run_command(*playgate("doctor", "--video", "x8null"), env=env)
    assert exit_code == 1
    assert "fail stream      stream-unavailable" in output
    assert "Fix the first failing check first." in output


async def test_the_probe_requires_a_signed_token(edge):
    for query in (
        "",
        "?token=",
        "?token=1.2",
        f"?token={edge.mint()}",
        f"?token={'9' * 10}.{'0' * 64}",
    ):
        answer = await edge.get(f"{edge.player}/play/probe{query}")
        assert (answer.status, answer.reason) == (404, "not-found")


def find_calls(tree: ast.AST, functions: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in functions:
            yield node


def test_every_result_is_built_with_all_fields_of_its_texts():
    made: dict[str, set[str]] = {flag: set() for flag in get_args(UrlFlag)}
    for path in (ROOT / "proxy/cli/doctor").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            texts = {node.value for node in ast.walk(function) if isinstance(node, ast.Constant)}
            common = {
                keyword.arg
                for call in find_calls(function, {"partial"})
                for keyword in call.keywords
            }
            for call in find_calls(function, {"build_result", "build_seen"}):
                named = {
                    node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)
                }
                given = {keyword.arg for keyword in call.keywords} | common
                for name in (named or texts - made.keys()) & TEXTS.keys():
                    made[name] = given
    assert made.keys() == TEXTS.keys() - {"steps"}
    for name, given in made.items():
        entry = TEXTS[name]
        fields = {
            field
            for text in (entry["text"], entry.get("step", ""))
            for _, field, _, _ in Formatter().parse(text)
            if field
        }
        assert fields <= given, name


def test_every_next_step_belongs_to_a_reason():
    assert TEXTS["steps"]["reasons"].keys() <= set(Reason)
