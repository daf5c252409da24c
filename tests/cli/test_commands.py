"""The commands serve, demo, check-config, token mint and token explain, and all help texts."""

import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import typer
from ports import free_port
from support import ROOT, SANDBOX_TOML, run_test_edge, run_test_sandbox
from typer.testing import CliRunner, Result

import proxy
from proxy.cli import app
from proxy.cli.token_explanation import format_local_time, format_relative_time

CONFIG = ["--config", str(SANDBOX_TOML)]


@pytest.fixture(autouse=True)
def use_free_operator_port(monkeypatch):
    """Point commands at a free port, in case an edge runs on this machine."""
    monkeypatch.setenv("PLAYGATE_OPERATOR__LISTEN", f"127.0.0.1:{free_port()}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "NO_COLOR": "1"})


def mint(*arguments: str) -> str:
    result = run("token", "mint", *CONFIG, "--video", "x8demo1", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_help_names_every_command_and_option():
    for flag in ("--help", "-h"):
        assert re.findall(
            r"^  (serve|demo|check-config|token)\b", run(flag).stdout, re.MULTILINE
        ) == ["serve", "demo", "check-config", "token"]
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


def test_check_config_reports_valid_settings():
    result = run("check-config", *CONFIG)

    assert result.exit_code == 0
    assert "ok" in result.stdout and "sandbox (HS256)" in result.stdout
    assert "known-to-everybody" not in result.output


def test_check_config_reports_every_error_and_exits_with_1():
    result = run("check-config", "--config", str(ROOT / "tests/config/bad-keys.toml"))

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "6 errors in the settings" in result.stderr
    assert "0123456789abcdef" not in result.output


def test_every_command_reports_errors_in_the_settings():
    for command in (
        ["serve"],
        ["check-config"],
        ["token", "mint", "--video", "x8abcd"],
        ["token", "explain", "t"],
    ):
        result = run(*command, "--config", str(ROOT / "tests/config/bad-empty.toml"))
        assert result.exit_code == 1, command
        assert "platform.api_key: is not set" in result.stderr
        assert "Traceback" not in result.output


def test_the_settings_file_can_be_named_by_an_environment_variable(monkeypatch):
    monkeypatch.setenv("PLAYGATE_CONFIG", str(SANDBOX_TOML))

    assert run("check-config").exit_code == 0


async def test_mint_prints_the_token_and_nothing_else():
    token = mint("--ttl", "60", "--ip", "127.0.0.0/24", "--sub", "viewer-7")

    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
    async with run_test_sandbox() as sandbox, run_test_edge(sandbox) as edge:
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
        (["--video", "../etc"], "is not a video ID"),
        (["--video", "x8abcd", "--ttl", "0"], "ttl must be 1 to 3600 seconds (tokens.max_ttl)"),
        (["--video", "x8abcd", "--ttl", "3601"], "ttl must be 1 to 3600 seconds (tokens.max_ttl)"),
        (["--video", "x8abcd", "--ip", "here"], "--ip: 'here' is neither an address nor a network"),
        (["--video", "x8abcd", "--sub", "a b"], "the claim sub"),
        (["--video", "*", "--url"], "--url needs a single video ID instead of *"),
    ],
)
def test_mint_refuses_invalid_options_with_an_explanation(arguments, says):
    result = run("token", "mint", *CONFIG, *arguments)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert says in result.stderr


def test_mint_without_a_private_key_explains_the_error(tmp_path):
    config = tmp_path / "public.toml"
    text = SANDBOX_TOML.read_text()
    key = (ROOT / "tests" / "cli" / "public.pem").as_posix()
    text = re.sub(r"alg = .*\nsecret = .*", f'alg = "Ed25519"\nfile = "{key}"', text)
    config.write_text(text)
    result = run("token", "mint", "--config", str(config), "--video", "x8abcd")

    assert result.exit_code == 1
    assert "This edge has no key that can sign" in result.stderr


def test_explain_shows_every_check_of_a_valid_token():
    result = run("token", "explain", *CONFIG, mint(), "--video", "x8demo1", "--ip", "127.0.0.1")

    assert result.exit_code == 0
    checks = re.findall(r"^ok +(\w+)", result.stdout, re.MULTILINE)
    assert checks == ["id", "viewer", "token", "form", "key", "signature", "claims", "issuer", "started", "expiry", "lifetime", "audience", "video", "format", "network"]  # fmt: skip
    assert (
        "The edge accepts this token if it also passes the checks that cannot be run here: revoked."
        in result.stdout
    )


def test_explain_shows_failed_checks_and_the_response_of_the_edge():
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
    assert re.search(r"^fail +video +token-video", result.stdout, re.MULTILINE)
    assert re.search(r"^fail +network +token-network", result.stdout, re.MULTILINE)
    assert "The edge refuses the play with 403 token-video" in result.stdout


def test_explain_shows_the_claims_of_the_token():
    result = run("token", "explain", *CONFIG, mint("--sub", "viewer-7", "--ip", "127.0.0.0/24"))

    assert "kid    sandbox" in result.stdout
    assert 'sub    "viewer-7"' in result.stdout and 'ip     "127.0.0.0/24"' in result.stdout
    assert re.search(
        r"^exp +(?:\S+ )?\d\d:\d\d:\d\d \(in [45] minutes\)$", result.stdout, re.MULTILINE
    )
    assert re.search(r"^ok +expiry +it expires in [45] minutes, at \d", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("token mint --video x8abcd --ttl abc", "'--ttl': must be a whole number"),
        ("token mint --video x8abcd --max-height 0", "'--max-height': must be at least 1"),
        ("demo --port 99999", "'--port': must be at most 65535"),
        ("demo --port x", "'--port': must be a whole number"),
        ("demo --port 8081", "--port, --operator-port and --sandbox-port must be different"),
        ("keys generate --alg HS512", "'HS512' is not one of 'HS256'"),
        ("videos list --limit 0", "'--limit': must be at least 1"),
        ("videos upload nothing.mp4", "does not exist"),
    ],
)
def test_an_invalid_option_is_reported_in_plain_words(command, says):
    result = run(*command.split())

    assert result.exit_code in {1, 2}
    assert says in " ".join(result.stderr.split())
    assert "should" not in result.stderr and "Value error" not in result.stderr


def test_explain_of_a_url_without_a_token_reports_only_the_missing_token():
    shown = run("token", "explain", *CONFIG, "http://127.0.0.1:8080/play/x8demo1.m3u8").stdout

    assert re.findall(r"^fail +(\w+)", shown, re.MULTILINE) == ["token"]


def test_explain_names_the_missing_options_and_detects_milliseconds():
    url = f"http://127.0.0.1:8080/play/x8demo1.m3u8?token={mint()}"
    assert "Add --ip to run the other checks" in run("token", "explain", *CONFIG, url).stdout
    claims = {"video": "x8demo1", "iat": 1_795_000_000_000, "exp": 1_795_000_300_000}
    secret = "sandbox-signing-key-known-to-everybody"
    token = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "sandbox"})
    assert "this looks like milliseconds" in run("token", "explain", *CONFIG, token).stdout


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (1_000_000_000 - 4 * 60, "4 minutes ago"),
        (1_000_000_000 + 60, "in 1 minute"),
        (1_000_000_000 - 1, "1 second ago"),
        (1_000_000_000, "0 seconds ago"),
        (1_000_000_000 + 7_300, "in 2 hours"),
        (1_000_000_000 - 400 * 86_400, "400 days ago"),
    ],
)
def test_relative_times_are_formatted_in_words(moment, said):
    assert format_relative_time(moment, 1_000_000_000.4) == said


def test_times_of_another_day_have_a_date_and_impossible_times_are_numbers():
    assert re.fullmatch(r"\d\d:\d\d:\d\d", format_local_time(1_000_000_000, 1_000_000_001))
    assert re.fullmatch(
        r"2001-09-\d\d \d\d:\d\d:\d\d", format_local_time(1_000_000_000, 1_100_000_000)
    )
    assert format_local_time(10**18, 1_000_000_000) == f"{10**18} s since 1970"


def test_explain_of_an_expired_token_shows_the_expiry_time():
    now = int(time.time())
    claims = {"video": "x8demo1", "iat": now - 540, "exp": now - 240}
    secret = "sandbox-signing-key-known-to-everybody"
    token = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "sandbox"})
    result = run("token", "explain", *CONFIG, token)

    assert result.exit_code == 1
    assert re.search(
        r"^fail +expiry +token-expired: it expired 4 minutes ago, at \d",
        result.stdout,
        re.MULTILINE,
    )
    assert "The edge refuses the play with 401 token-expired" in result.stdout


def iterate_commands(group: Any, above: str = "playgate") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from iterate_commands(command, f"{above} {name}")
        else:
            yield f"{above} {name}", command


COMMANDS = dict(iterate_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_valid_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.mp4").touch()
    shown = run(*name.split()[1:], "-h").stdout
    examples = re.findall(
        r"^    (\S.*playgate .*|playgate .*)$", shown.partition("Examples:")[2], re.MULTILINE
    )

    assert examples and "<bool>" not in shown and "…" not in shown.splitlines()[2]
    for example in examples:
        words = shlex.split(example.partition(">")[0])
        words = words[next(i for i, word in enumerate(words) if word == "playgate") :]
        rest = words[len(name.split()) :]
        assert " ".join(words[: len(name.split())]) == name
        COMMANDS[name].make_context(
            name, rest
        )  # raises if the command does not accept the arguments


def test_the_list_of_commands_is_not_truncated():
    assert "..." not in run("-h").stdout.partition("Commands:")[2]


def test_check_config_finds_and_names_the_settings_file_in_the_current_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert "No settings file was found" in run("check-config").stderr
    (tmp_path / "playgate.toml").write_text(SANDBOX_TOML.read_text())
    result = run("check-config")
    assert result.exit_code == 0 and result.stdout.startswith("playgate.toml: ok\n")
    other = tmp_path / "other.toml"
    other.write_text(SANDBOX_TOML.read_text())
    assert run("check-config", "--config", str(other)).stdout.startswith(f"{other}: ok\n")
    monkeypatch.setenv("PLAYGATE_CONFIG", str(other))
    assert run("check-config").stdout.startswith(f"{other}: ok\n")


@pytest.mark.parametrize(
    ("listen", "is_warned"),
    [("0.0.0.0:8081", True), ("10.0.0.7:8081", True), ("[::]:8081", True), ("127.0.0.1:8081", False), ("unix:/run/playgate/operator.sock", False)],
)  # fmt: skip
def test_check_config_warns_if_other_hosts_can_reach_the_operator_port(
    tmp_path, monkeypatch, listen, is_warned
):
    monkeypatch.setenv("PLAYGATE_OPERATOR__LISTEN", listen)
    config = tmp_path / "playgate.toml"
    config.write_text(
        '[platform]\napi_key = "k"\napi_secret = "s"\n'
        f'[[tokens.keys]]\nkid = "a"\nalg = "HS256"\nsecret = "{"s" * 32}"\n'
    )
    result = run("check-config", "--config", str(config))

    assert result.exit_code == 0
    assert ("operator.listen: " in result.stderr) is is_warned
    assert "web.listen: " not in result.stderr
    monkeypatch.setenv("PLAYGATE_WEB__LISTEN", "0.0.0.0:8080")
    assert "web.listen: " in run("check-config", "--config", str(config)).stderr
    monkeypatch.setenv("PLAYGATE_VIEWER__TRUSTED_PROXIES", '["10.0.0.0/8"]')
    assert "web.listen: " not in run("check-config", "--config", str(config)).stderr


def test_explain_marks_checks_without_a_video_or_address_as_not_checked():
    result = run("token", "explain", *CONFIG, mint())

    assert result.exit_code == 0
    assert re.findall(r"^warn +(\w+) +not checked", result.stdout, re.MULTILINE) == [
        "video",
        "network",
        "revoked",  # no edge runs
    ]
    assert "The edge accepts" not in result.stdout
    assert "Add --video and --ip" in result.stdout


def test_explain_accepts_urls_and_headers_with_a_token():
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
def test_explain_reports_the_same_reason_as_the_edge(carrier, reason):
    result = run("token", "explain", *CONFIG, carrier.replace("{token}", mint()))

    assert result.exit_code == 1
    assert f"The edge refuses the play with {reason}" in result.stdout


def test_explain_applies_viewer_private(monkeypatch):
    monkeypatch.setenv("PLAYGATE_VIEWER__PRIVATE", "refuse")
    result = run("token", "explain", *CONFIG, mint(), "--ip", "10.0.0.1")

    assert result.exit_code == 1
    assert "The edge refuses the play with 403 viewer-private" in result.stdout


def test_explain_of_a_malformed_token_fails_the_check_of_its_form():
    result = run("token", "explain", *CONFIG, "nonsense")

    assert result.exit_code == 1
    assert re.search(
        r"^fail +form +token-malformed: it must have 3 parts separated by dots, and has 1",
        result.stdout,
        re.MULTILINE,
    )


def test_explain_refuses_an_invalid_address():
    result = run("token", "explain", *CONFIG, "t", "--ip", "here")

    assert result.exit_code == 1
    assert "--ip: 'here' is not an IP address" in result.stderr


def test_the_demo_refuses_settings_for_the_real_dailymotion(tmp_path):
    config = tmp_path / "real.toml"
    config.write_text(
        '[platform]\napi_key = "k"\napi_secret = "s"\n'
        f'[[tokens.keys]]\nkid = "a"\nalg = "HS256"\nsecret = "{"s" * 32}"\n'
    )
    result = run("demo", "--config", str(config))

    assert result.exit_code == 1
    assert "the demo needs settings with sandbox = true" in result.stderr
    assert "https" not in result.stderr, "errors about the demo's own settings must not be shown"
