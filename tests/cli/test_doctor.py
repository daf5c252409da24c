"""`playgate doctor` names what is broken, and what to do: each thing broken on purpose."""

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
from account_settings import logged_in
from aiohttp import web
from certificates import certify
from nginx_server import BEHIND, an_nginx
from ports import free_port
from processes import playgate, started
from support import ROOT, SANDBOX_TOML, an_edge, eventually, serving
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
def examine(sandbox, monkeypatch):
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
            await eventually(lambda: edge.edge.apps.process.telemetry.health.has_access_token)
            if not is_another:
                run_these_settings(edge)
        return await collect_results(SANDBOX_TOML, video, ip, quiet=True)

    return run


def run_these_settings(edge) -> None:
    """Have an edge say that it runs what the doctor reads, which has its ports as variables."""
    current = edge.edge.apps.services_ref
    with suppress(SettingsInvalid):
        digest = compute_digest(load_settings(SANDBOX_TOML))
        current.services = replace(current.services, settings_digest=digest)


def troubles(found) -> dict[str, str]:
    return {it.check: f"{it.status}: {it.text} → {it.next_step}" for it in found if it.status != "ok"}  # fmt: skip


async def test_where_all_is_well_every_line_says_so(edge, examine):
    found = await examine(edge, video="x8demo1", ip="127.0.0.7")

    assert troubles(found) == {}
    assert [it.check for it in found] == ALL_WELL


async def test_an_edge_that_runs_other_settings_is_not_called_ready(edge, examine):
    """Such as a demo, on the port where these settings have their edge."""
    found = troubles(await examine(edge, is_another=True))

    assert "warn: an edge answers at 127.0.0.1:" in found["edge"]
    assert "it runs other settings than these" in found["edge"]


def test_what_a_player_on_this_machine_gets_is_not_passed_over():
    """It is refused as viewer-private, while a viewer with a public address would play."""
    local = IPv4Address("127.0.0.1")
    found = assess_play("would be redirected", local, "refuse", loopback_viewers=False)

    assert found.status == "warn"
    assert "a viewer with a public address would be redirected" in found.text
    assert "a player on this machine gets 403 viewer-private" in found.text
    assert 'private = "omit" under [viewer]' in found.next_step
    for viewer, private, is_sandbox in (
        (local, "pass", True),
        (local, "omit", False),
        (IPv4Address("8.8.8.8"), "refuse", False),
    ):
        found = assess_play("would be relayed", viewer, private, loopback_viewers=is_sandbox)
        assert (found.status, found.text) == ("ok", "would be relayed")


@pytest.mark.parametrize(
    ("settings", "check", "says"),
    [
        ({"PLATFORM__API_SECRET": "wrong"}, "credentials", "fail: platform-credentials"),
        ({"PLATFORM__API_KEY": "sandbox-public"}, "credentials", "this grant needs a private API key"),
        ({"PLATFORM__SCOPE": "userinfo"}, "stream", "Generate stream URLs"),
        ({"PLATFORM__NO_IP_LOCK": "true"}, "settings", "warn: platform.no_ip_lock is true"),
        ({"PLATFORM__NO_EXPIRE": "true"}, "settings", "warn: platform.no_expire is true"),
        ({"PLATFORM__REST_URL": "http://127.0.0.1:1"}, "hosts", "fail: 127.0.0.1:1: no connection"),
        ({"PLATFORM__REST_URL": "http://127.0.0.1:1"}, "clock", "fail: platform-unreachable"),
        ({"PLATFORM__EGRESS_IP": "127.0.0.9"}, "cdn", "warn: 403 for the stream URL of this"),
        ({"PLATFORM__ALLOWED_HOSTS": '["dmcdn.net"]'}, "stream", "add it to platform.allowed_hosts"),
        ({"DELIVERY__CDN_FAMILIES": '["ipv4","ipv6"]'}, "families", "warn: the CDN has ipv4, as"),
        ({"OPERATOR__LISTEN": "127.0.0.1:1"}, "edge", "warn: no edge answers at 127.0.0.1:1"),
        ({"OPERATOR__KEY": ""}, "forwarding", "warn: cannot be looked at without operator.key"),
        ({"OPERATOR__KEY": "k" * 20}, "forwarding", "fail: the edge does not take the probe (HTTP 404)"),
        ({"WEB__PUBLIC_URL": ""}, "public", "warn: web.public_url is not set"),
        ({"WEB__PUBLIC_URL": "http://127.0.0.1:1"}, "public", "fail: http://127.0.0.1:1 does not answer (refused"),
        ({"PLATFORM__API_KEY": ""}, "settings", "platform.api_key (PLAYGATE_PLATFORM__API_KEY): is empty"),
        ({"PLATFORM__API_KEY": ""}, "edge", "One that runs goes on with the settings that it had"),
    ],
)  # fmt: skip
async def test_what_the_settings_break_is_named(edge, examine, settings, check, says):
    found = troubles(await examine(edge, video="x8demo1", **settings))

    assert says in found[check]
    assert "wrong" not in str(found) and "sandbox-secret" not in str(found)


@pytest.mark.parametrize(
    ("video", "says"),
    [
        (
            "x8null",
            "fail: stream-unavailable (video: stream URL is null, status processing) → Does the video",
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
async def test_what_is_wrong_with_a_video_is_named(edge, examine, video, says):
    assert says in troubles(await examine(edge, video=video))["stream"]


@pytest.mark.parametrize(
    ("video", "check", "says"),
    [
        ("x8empty", "cdn", "fail: no player can play this playlist (variants-none"),
        ("x8robot", "cdn", "fail: HTTP 200, and what comes is no playlist"),
        (None, "stream", "warn: no video was"),
    ],
)
async def test_what_the_cdn_gives_is_looked_at(edge, examine, video, check, says):
    assert says in troubles(await examine(edge, video=video))[check]


@pytest.mark.parametrize(
    ("ip", "private", "check", "says"),
    [
        ("10.0.0.5", "refuse", "stream", "fail: viewer-private (viewer.private is 'refuse')"),
        ("2001:db8::5", "pass", "families", "fail: the CDN has ipv4, and 2001:db8::5 is an IPv6"),
    ],
)
async def test_a_viewer_is_judged_as_the_edge_would(edge, examine, *, ip, private, check, says):
    settings = {"VIEWER__PRIVATE": private, "DELIVERY__CDN_FAMILIES": '["ipv4","ipv6"]'}
    found = await examine(edge, video="x8demo1", ip=ip, **settings)

    assert says in troubles(found)[check]


@pytest.mark.parametrize(
    ("video", "settings", "fault", "says"),
    [
        ("x8demo1", {}, None, "ok: would be relayed"),
        ("x8empty", {}, None, "fail: playlist-invalid (variants-none"),
        ("x8robot", {}, None, "fail: platform-bad-response (CDN: what came is no playlist) → Try playgate"),
        ("x8demo1", {}, Fault(status=403), "→ The line cdn says what that may be."),
        ("x8demo1", {}, Fault(status=404), "→ The CDN does not have the stream"),
        ("x8demo1", {"DELIVERY__MODE": "validate"}, Fault(status=403), "warn: would be redirected unchecked: platform-bad-response"),
        ("x8empty", {"DELIVERY__MODE": "validate"}, None, "fail: playlist-invalid (variants-none"),
        ("x8empty", {"DELIVERY__MODE": "redirect"}, None, "ok: would be redirected"),
    ],
)  # fmt: skip
async def test_the_play_is_what_the_edge_would_answer(
    sandbox, examine, *, video, settings, fault, says
):
    sandbox.controls.set_fault("playlist", fault)
    found = await examine(video=video, ip="127.0.0.7", **{"DELIVERY__MODE": "relay", **settings})
    (play,) = [f"{it.status}: {it.text} → {it.next_step}" for it in found if it.check == "play"]

    assert says in play


@pytest.mark.parametrize(
    "settings", [{"DELIVERY__MODE": "relay"}, {"DELIVERY__CDN_FAMILIES": '["ipv4"]'}]
)
async def test_what_is_relayed_needs_nothing_of_the_cdn_but_for_us(sandbox, examine, settings):
    text = await plain_playlist(sandbox)
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text))  # without CORS
    found = await examine(video="x8demo1", ip="2001:db8::5", VIEWER__PRIVATE="pass", **settings)

    assert set(troubles(found)) == {"edge", "public"}  # there is none


async def plain_playlist(sandbox) -> str:
    async with an_edge(sandbox) as edge:
        return (await edge.get((await edge.play()).location)).body.decode()


async def test_an_edge_that_refuses_every_viewer_is_an_edge_all_the_same(sandbox, examine):
    """A proxy that is not trusted, in front of an edge with the default for private viewers."""
    async with an_edge(sandbox, viewer={"private": "refuse"}) as edge:
        found = await examine(edge, video="x8demo1")

        assert "public" not in troubles(found)
        assert "forwarding" in [it.check for it in found]


@pytest.mark.parametrize("body", ["{}", "[1]", '{"status": "ready", "platform": []}', "<html>"])
async def test_something_else_at_the_operator_port_is_no_edge(examine, body):
    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(text=body)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    async with serving(app) as origin:
        found = await examine(OPERATOR__LISTEN=URL(origin).authority)

        assert "warn: the server at" in troubles(found)["edge"]


async def test_a_port_that_does_not_answer_is_not_called_free(examine, monkeypatch):
    monkeypatch.setattr(this_machine, "CHECK_TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = troubles(await examine(OPERATOR__LISTEN=f"127.0.0.1:{mute.getsockname()[1]}"))

    assert "accepts connections but does not respond → Look at that process" in found["edge"]


async def test_a_port_that_speaks_no_http_is_not_called_free(examine):
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR unknown command\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = troubles(await examine(OPERATOR__LISTEN=f"127.0.0.1:{port}"))

    assert "is not an edge of this version → Stop it" in found["edge"]


async def test_an_edge_that_has_yet_to_take_the_credentials_is_to_be_restarted_first(edge, examine):
    health = edge.edge.apps.process.telemetry.health
    await edge.play()  # so there is a token already
    health.record_refusal("token", Refusal(Reason.PLATFORM_CREDENTIALS))
    health.settings_status = replace(health.settings_status, need_restart=("platform.api_secret",))
    found = [it for it in await examine(edge) if it.check == "edge"]

    assert found[0].text == "these settings are not in use yet: platform.api_secret"
    assert found[1].text.startswith("trouble with token since")
    assert found[1].next_step.startswith("Restart the edge first")


def test_the_digest_tells_keys_in_files_apart(tmp_path):
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


def test_the_digest_tells_every_setting_apart_secrets_too():
    """Except for those in which instances of one edge differ, and those that no edge uses."""
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


async def test_what_others_say_cannot_write_to_the_terminal(edge, examine, sandbox, capsys):
    body = '{"id": "\\u001b]0;pwned\\u0007\\n[ok]", "scope": []}'
    sandbox.controls.set_fault("account", Fault(status=200, body=body))
    for finding in await examine(edge):
        print_result(finding)

    printed = capsys.readouterr().out
    assert "pwned" in printed and "\x1b]0" not in printed and "\n[ok]" not in printed


async def test_a_cdn_that_keeps_web_players_out_is_named(edge, examine, sandbox):
    sandbox.controls.set_fault("playlist", Fault(status=200, body="#EXTM3U\n"))
    found = troubles(await examine(edge, video="x8demo1"))

    assert "use delivery.mode = relay" in found["cors"]


async def test_the_edges_own_troubles_are_told(sandbox, edge, examine):
    await edge.play()
    sandbox.controls.set_fault("video", Fault(status=500))
    await edge.play()
    sandbox.controls.set_fault("video", None)
    found = troubles(await examine(edge, video="x8demo1"))

    assert "fail: trouble with video since" in found["edge"]
    assert "stream" not in found


async def test_something_else_at_the_public_url_is_named(edge, examine, sandbox):
    found = troubles(await examine(edge, WEB__PUBLIC_URL=sandbox.origin))

    assert "with HTTP 404, no X-Deny-Reason" in found["public"]


async def test_a_private_id_is_not_shown(edge, examine):
    found = await examine(edge, video="k8demoPrivateKnownToYou")

    assert "k8demoPrivate" not in str(found) and any("k-" in it.text for it in found)


async def test_a_login_that_others_can_read_is_named(sandbox, edge, examine, tmp_path):
    file = tmp_path / "login.json"
    account = logged_in(sandbox, file)
    file.chmod(0o644)
    env = {f"PLATFORM__{name.upper()}": value for name, value in account.items()}
    env["PLATFORM__TOKEN_URL"] = f"{sandbox.origin}/oauth/token"
    found = troubles(await examine(edge, PLATFORM__REST_URL=sandbox.origin, **env))

    assert f"Run chmod 600 {file}" in found["settings"]
    assert "credentials" not in found


async def test_v2_is_looked_at_as_far_as_it_goes(sandbox, examine):
    async with an_edge(sandbox, platform={"api": "v2"}) as edge:
        found = await examine(
            edge,
            video="x8demo1",
            PLATFORM__API="v2",
            PLATFORM__TOKEN_URL=f"{sandbox.origin}/v2/token",
            PLATFORM__REST_URL=f"{sandbox.origin}/v2",
        )

        assert troubles(found) == {}


SEEN = {"viewer": "203.0.113.7", "peer": "10.0.0.2", "peer_is_trusted": True, "header": "X-Forwarded-For", "forwarded": ["203.0.113.7"]}  # fmt: skip


class TestForwarding:
    """Whose address the edge sees, through real proxies and none."""

    async def test_behind_nginx_as_it_is_shipped_all_is_well(
        self, sandbox, component, examine, tmp_path
    ):
        async with (
            an_edge(sandbox, **BEHIND) as edge,
            an_nginx(component("nginx"), tmp_path, [edge.edge.player.port] * 2, [edge.edge.operator.port] * 2) as nginx,
        ):  # fmt: skip
            found = await examine(edge, video="x8demo1", WEB__PUBLIC_URL=nginx.origin)

            assert troubles(found) == {}
            assert found[-1].text == "the edge sees this machine as 127.0.0.1, through 127.0.0.1"
            assert "token=" not in nginx.access_log

    async def test_an_address_that_anybody_may_choose_is_named(self, sandbox, examine):
        async with an_edge(sandbox, viewer={"trusted_proxies": ["127.0.0.1"]}) as edge:
            found = troubles(await examine(edge))

            assert "viewers choose their own address" in found["forwarding"]

    @pytest.mark.parametrize(
        ("changes", "status", "says"),
        [
            ({"viewer": "93.184.216.34", "forwarded": ["93.184.216.34"]}, "ok", "as 93.184.216.34"),
            ({"viewer": "93.184.216.34", "peer_is_trusted": False, "forwarded": [FORGED_ADDRESS]}, "ok", "sees"),
            ({"viewer": FORGED_ADDRESS, "forwarded": [FORGED_ADDRESS]}, "fail", "choose their own address"),
            ({"viewer": None, "forwarded": []}, "fail", "names no viewer"),
            ({"viewer": "10.0.0.2", "forwarded": [f"{FORGED_ADDRESS}, 1.2.3.4"], "peer_is_trusted": False}, "fail", "Add 10.0.0.2 to viewer.trusted_proxies"),
            ({"viewer": "10.0.0.2", "forwarded": ["10.0.0.2"]}, "fail", "which is private"),
        ],
    )  # fmt: skip
    def test_each_way_of_getting_it_wrong_has_its_step(self, changes, status, says):
        seen = {**SEEN, **changes}
        finding = assess_forwarding(seen, "refuse", loopback_viewers=False)

        assert finding.status == status
        assert says in f"{finding.text} {finding.next_step}"


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
def test_a_private_address_is_judged_as_the_edge_judges_it(viewer, private, status):
    seen = {**SEEN, "viewer": viewer, "forwarded": [viewer]}

    assert assess_forwarding(seen, private, loopback_viewers=False).status == status


@pytest.mark.parametrize(
    ("denied", "preflight", "status"),
    [("*", "*", "ok"), ("", "*", "fail"), ("*", "", "fail"), ("https://a.example", "*", "fail")],
)
def test_cors_headers_that_do_not_come_through_are_named(denied, preflight, status):
    def told(code: int, origin: str) -> PublicResponse:
        return PublicResponse(
            status=code, headers={"Access-Control-Allow-Origin": origin} if origin else {}
        )

    assert assess_cors(told(401, denied), told(204, preflight)).status == status


@pytest.mark.parametrize(
    ("ahead", "status", "says"),
    [
        (0.0, "ok", "agrees"),
        (5.0, "ok", "agrees"),
        (6.0, "warn", "6 s ahead of"),
        (-10.0, "warn", "10 s behind"),
        (999.0, "fail", "999 s ahead of"),
        (-999.0, "fail", "999 s behind"),
        (None, "warn", "no Date"),
    ],
)
def test_a_clock_that_is_off_is_named(ahead, status, says):
    finding = assess_clock(ahead)

    assert (finding.status, says in finding.text) == (status, True)


async def test_a_host_is_resolved_reached_and_verified(tmp_path, monkeypatch):
    authority, chain = certify(tmp_path, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    async with run_sandbox(Sandbox(), tls=tls) as sandbox:
        url = URL(sandbox.origin)
        assert "TLS fails" in (await check_host("hosts", url, socket.AF_INET, "ipv4")).text
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        finding = await check_host("hosts", url, socket.AF_INET, "ipv4")
        assert "TLSv1.3, certificate until 20" in finding.text
    gone = await check_host("hosts", URL(f"http://127.0.0.1:{free_port()}"), socket.AF_INET, "ipv4")
    assert "no connection" in gone.text
    unknown = await check_host("hosts", URL("https://nowhere.invalid"), socket.AF_INET, "ipv4")
    assert unknown.text == "nowhere.invalid: no ipv4 address in DNS"


async def test_the_command_exits_1_where_something_fails_and_prints_json(edge, sandbox):
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
        async with started(*command, env=env) as process:
            assert await process.process.wait() == code
            await process.read_to_the_end()
        body = json.loads(process.output)
        assert body["ok"] is (code == 0)
        assert set(body["checks"][0]) == {"check", "status", "text", "next_step"}
    async with started(*playgate("doctor", "--video", "x8null"), env=env) as process:
        assert await process.process.wait() == 1
        await process.read_to_the_end()
    assert "fail stream      stream-unavailable" in process.output
    assert "Fix the first failing check first." in process.output


async def test_the_probe_answers_the_operator_alone(edge):
    for query in (
        "",
        "?token=",
        "?token=1.2",
        f"?token={edge.mint()}",
        f"?token={'9' * 10}.{'0' * 64}",
    ):
        answer = await edge.get(f"{edge.player}/play/probe{query}")
        assert (answer.status, answer.reason) == (404, "not-found")


def calls_of(tree: ast.AST, functions: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in functions:
            yield node


def test_every_finding_is_made_with_all_that_its_texts_name():
    made: dict[str, set[str]] = {flag: set() for flag in get_args(UrlFlag)}
    for path in (ROOT / "proxy/cli/doctor").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            texts = {it.value for it in ast.walk(function) if isinstance(it, ast.Constant)}
            common = {
                keyword.arg for call in calls_of(function, {"partial"}) for keyword in call.keywords
            }
            for call in calls_of(function, {"build_result", "build_seen"}):
                named = {it.value for it in ast.walk(call.args[0]) if isinstance(it, ast.Constant)}
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


def test_every_next_step_is_for_a_reason():
    assert TEXTS["steps"]["reasons"].keys() <= set(Reason)
