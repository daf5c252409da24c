"""The command line, as somebody types it."""

from __future__ import annotations

import re

import pytest
from support import ROOT, SANDBOX_TOML, a_sandbox, an_edge
from typer.testing import CliRunner, Result

import proxy
from proxy.cli import app

CONFIG = ["--config", str(SANDBOX_TOML)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})


def mint(*arguments: str) -> str:
    result = run("token", "mint", *CONFIG, "--video", "x8demo1", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_help_names_every_command_and_option():
    assert re.findall(r"^\W+(serve|demo|check-config|token)\b", run("--help").stdout, re.MULTILINE) == [
        "serve", "demo", "check-config", "token",
    ]  # fmt: skip
    for command, options in {
        "serve": ["--config"],
        "demo": ["--port", "--operator-port", "--sandbox-port", "--config"],
        "check-config": ["--config"],
        "token mint": ["--video", "--ttl", "--ip", "--sub", "--url", "--config"],
        "token explain": ["--video", "--ip", "--config"],
    }.items():
        shown = run(*command.split(), "--help").stdout
        assert [option for option in options if option not in shown] == [], command


def test_help_shows_no_secret(monkeypatch):
    monkeypatch.setenv("PLAYGATE_PLATFORM__API_SECRET", "hush-hush")
    monkeypatch.setenv("PLAYGATE_CONFIG", str(SANDBOX_TOML))
    for command in ("serve", "demo", "check-config", "token mint", "token explain"):
        shown = run(*command.split(), "--help").output
        assert "hush" not in shown and "known-to-everybody" not in shown


def test_version():
    assert run("--version").stdout == f"playgate {proxy.__version__}\n"


def test_check_config_says_ok():
    result = run("check-config", *CONFIG)

    assert result.exit_code == 0
    assert "ok" in result.stdout and "sandbox (HS256)" in result.stdout
    assert "known-to-everybody" not in result.output


def test_check_config_says_everything_that_is_wrong_and_exits_1():
    result = run("check-config", "--config", str(ROOT / "tests/config/bad-keys.toml"))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "6 errors in the settings" in result.stderr
    assert "0123456789abcdef" not in result.output


def test_every_command_says_what_is_wrong_with_the_settings():
    for command in (
        ["serve"],
        ["demo"],
        ["check-config"],
        ["token", "mint", "--video", "x8abcd"],
        ["token", "explain", "t"],
    ):
        result = run(*command, "--config", str(ROOT / "tests/config/bad-empty.toml"))
        assert result.exit_code == 1, command
        assert "platform.api_key: is not set" in result.stderr
        assert "Traceback" not in result.output


def test_the_config_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("PLAYGATE_CONFIG", str(SANDBOX_TOML))

    assert run("check-config").exit_code == 0


async def test_mint_prints_the_token_and_nothing_else():
    token = mint("--ttl", "60", "--ip", "127.0.0.0/24", "--sub", "viewer-7")

    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
    async with a_sandbox() as sandbox, an_edge(sandbox) as edge:
        assert (await edge.get(edge.play_url(token=token))).status == 302
        assert (
            await edge.get(edge.play_url(token=token), source="127.0.1.1")
        ).reason == "token-network"


def test_mint_prints_a_play_url():
    assert re.fullmatch(
        r"http://127\.0\.0\.1:8080/play/x8demo1\.m3u8\?token=[\w.-]+", mint("--url")
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--video", "../etc"], "is not a video id"),
        (["--video", "x8abcd", "--ttl", "0"], "ttl must be 1 to 3600 seconds (tokens.max_ttl)"),
        (["--video", "x8abcd", "--ttl", "3601"], "ttl must be 1 to 3600 seconds (tokens.max_ttl)"),
        (["--video", "x8abcd", "--ip", "here"], "--ip: 'here' is neither an address nor a network"),
        (["--video", "x8abcd", "--sub", "a b"], "the claim sub"),
        (["--video", "*", "--url"], "--url needs web.public_url"),
    ],
)
def test_mint_says_what_it_cannot_do(arguments, says):
    result = run("token", "mint", *CONFIG, *arguments)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert says in result.stderr


def test_mint_without_a_private_key_says_so(tmp_path):
    config = tmp_path / "public.toml"
    text = SANDBOX_TOML.read_text()
    key = (ROOT / "tests" / "cli" / "public.pem").as_posix()
    text = re.sub(r"alg = .*\nsecret = .*", f'alg = "Ed25519"\nfile = "{key}"', text)
    config.write_text(text)
    result = run("token", "mint", "--config", str(config), "--video", "x8abcd")

    assert result.exit_code == 1
    assert "No key of this edge can sign" in result.stderr


def test_explain_shows_every_check_of_a_good_token():
    result = run("token", "explain", *CONFIG, mint(), "--video", "x8demo1", "--ip", "127.0.0.1")

    assert result.exit_code == 0
    checks = re.findall(r"^ok +(\w+)", result.stdout, re.MULTILINE)
    assert checks == ["id", "viewer", "token", "form", "key", "signature", "claims", "issuer", "started", "expiry", "lifetime", "audience", "video", "format", "network"]  # fmt: skip
    assert (
        "The edge accepts it, as far as that can be told from here (not: revoked)." in result.stdout
    )


def test_explain_shows_what_fails_and_what_the_edge_answers():
    result = run(
        "token",
        "explain",
        *CONFIG,
        mint("--ip", "10.0.0.0/8"),
        "--video",
        "x8other",
        "--ip",
        "127.0.0.1",
    )

    assert result.exit_code == 1
    assert re.search(r"^no +video +token-video", result.stdout, re.MULTILINE)
    assert re.search(r"^no +network +token-network", result.stdout, re.MULTILINE)
    assert "The edge answers 403 token-video" in result.stdout


def test_explain_shows_what_the_token_says():
    result = run("token", "explain", *CONFIG, mint("--sub", "viewer-7", "--ip", "127.0.0.0/24"))

    assert "kid    sandbox" in result.stdout
    assert 'sub    "viewer-7"' in result.stdout and 'ip     "127.0.0.0/24"' in result.stdout
    assert re.search(r"^exp +\d+ +\(\+\d+ s from now\)", result.stdout, re.MULTILINE)


def test_explain_says_what_it_was_not_told():
    result = run("token", "explain", *CONFIG, mint())

    assert result.exit_code == 0
    assert re.findall(r"^- +(\w+) +not compared", result.stdout, re.MULTILINE) == [
        "video",
        "network",
        "revoked",  # no edge runs
    ]
    assert "The edge accepts it" not in result.stdout
    assert "give --video and --ip" in result.stdout


def test_explain_takes_whatever_carries_a_token():
    token = mint()
    for carrier in (
        f"http://127.0.0.1:8080/play/x8demo1.m3u8?a=b&token={token}&x=1",
        f"http://127.0.0.1:8080/watch/x8demo1#{token}",
        f"Authorization: Bearer {token}",
        f"Bearer {token}",
    ):
        result = run(
            "token", "explain", *CONFIG, carrier, "--ip", "127.0.0.1", "--video", "x8demo1"
        )
        assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(
    ("carrier", "reason"),
    [
        ("http://127.0.0.1:8080/play/x8live1.m3u8?token={token}", "403 token-video"),
        ("http://127.0.0.1:8080/watch/x8live1#{token}", "403 token-video"),
        ("http://127.0.0.1:8080/play/x8demo1.m3u8", "401 token-missing"),
        ("http://127.0.0.1:8080/play/MyShow.m3u8?token={token}", "404 video-not-found"),
        ("", "401 token-missing"),
    ],
)
def test_explain_answers_as_the_edge_would(carrier, reason):
    result = run("token", "explain", *CONFIG, carrier.replace("{token}", mint()))

    assert result.exit_code == 1
    assert f"The edge answers {reason}" in result.stdout


def test_explain_knows_what_the_edge_does_with_private_viewers(monkeypatch):
    monkeypatch.setenv("PLAYGATE_VIEWER__PRIVATE", "refuse")
    result = run("token", "explain", *CONFIG, mint(), "--ip", "10.0.0.1")

    assert result.exit_code == 1
    assert "The edge answers 403 viewer-private" in result.stdout


def test_explain_of_nonsense_names_the_form():
    result = run("token", "explain", *CONFIG, "nonsense")

    assert result.exit_code == 1
    assert re.search(
        r"^no +form +token-malformed: 1 parts instead of 3", result.stdout, re.MULTILINE
    )


def test_explain_wants_an_address():
    result = run("token", "explain", *CONFIG, "t", "--ip", "here")

    assert result.exit_code == 1
    assert "--ip: 'here' is not an address" in result.stderr


def test_the_demo_never_talks_to_the_real_dailymotion(tmp_path):
    config = tmp_path / "real.toml"
    config.write_text(
        '[platform]\napi_key = "k"\napi_secret = "s"\n'
        f'[[tokens.keys]]\nkid = "a"\nalg = "HS256"\nsecret = "{"s" * 32}"\n'
    )
    result = run("demo", "--config", str(config))

    assert result.exit_code == 1
    assert "The demo takes settings with sandbox = true" in result.stderr
