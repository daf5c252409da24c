"""The refresh token file stays valid if a process is killed at any step of a token refresh."""

import asyncio
import fcntl
import json
import os
import signal
import stat
import sys

import pytest
from account_settings import log_in
from processes import Process, run_process
from support import run_test_edge, wait_until

from proxy.adapters.dailymotion.refresh_token_grant import TOKEN_TIMEOUT_SECONDS
from proxy.sandbox.controls import Fault

# Refreshes the token once. Kills itself before its n-th operation on the file, and prints which.
REFRESH_SCRIPT = """
import asyncio, os, signal, sys
from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.adapters.telemetry import build_telemetry
from proxy.settings import load_settings
from proxy.adapters.dailymotion.api_session import open_api_session
from proxy.wiring import build_grant, build_single_attempt_client

steps, file = int(sys.argv[1]), sys.argv[2]

def watch(event, arguments):
    global steps
    name = str(arguments[0]) if arguments else ""
    folder = os.path.dirname(file)
    if event == "os.truncate" or (
        event in {"open", "os.rename"} and (name.startswith(file) or name == folder)
    ):
        steps -= 1
        if steps == 0:
            writes = event == "open" and arguments[2] & os.O_WRONLY
            ending = name.removeprefix(file) if event != "os.truncate" else ""
            os.write(1, f"{event}{' to write' if writes else ''} {ending}".strip().encode())
            os.kill(os.getpid(), signal.SIGKILL)

async def refresh():
    settings, clock = load_settings(None), Clock()
    async with open_api_session(settings.platform) as session:
        telemetry = build_telemetry(clock=clock)
        http = build_single_attempt_client(session, telemetry)
        sys.addaudithook(watch)
        grant = build_grant(settings.platform, http, session, telemetry)
        await grant.fetch_access_token(deadline=clock.monotonic() + 60)

asyncio.run(refresh())
"""


def build_environment(sandbox, account) -> dict[str, str]:
    return {
        "PLAYGATE_SANDBOX": "true",
        "PLAYGATE_TOKENS__KEYS": json.dumps([{"kid": "a", "alg": "HS256", "secret": "s" * 32}]),
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/token",
        "PLAYGATE_PLATFORM__REST_URL": sandbox.origin,
        "PLAYGATE_PLATFORM__PLAY_TIMEOUT": "100",
        **{f"PLAYGATE_PLATFORM__{name.upper()}": value for name, value in account.items()},
    }


def start_refresh(sandbox, account, *, steps: int) -> Process:
    return run_process(
        sys.executable,
        "-c",
        REFRESH_SCRIPT,
        str(steps),
        account["login_file"],
        env=build_environment(sandbox, account),
    )


async def play_once(sandbox, account) -> str | None:
    """Play through a new edge; return the reason of the refusal, or None."""
    async with run_test_edge(sandbox, platform=account) as edge:
        return (await edge.play()).reason


@pytest.mark.parametrize("rotation", ["lenient", "strict", "none"])
async def test_a_refresh_killed_before_any_file_operation_leaves_a_valid_login(
    sandbox, tmp_path, rotation
):
    """One case cannot be prevented: a server that invalidates a token as it sends the next one.

    A process killed between that server's response and the first byte on the disk loses the login;
    the operator must log in again.
    """
    file = tmp_path / "login.json"
    steps: dict[str, str | None] = {}
    for number in range(1, 40):
        sandbox.accounts.rotation = rotation
        account = log_in(sandbox, file)
        async with start_refresh(sandbox, account, steps=number) as process:
            code = await process.wait_for_exit()
        if code == 0:
            break
        assert code == -signal.SIGKILL, process.output
        reason = await play_once(sandbox, account)
        steps[f"{number} {process.output}"] = reason
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text())["refresh_token"]

    assert code == 0
    fatal = [step.partition(" ")[2] for step, reason in steps.items() if reason is not None]
    assert fatal == (["open to write .next"] if rotation == "strict" else [])
    names = [step.partition(" ")[2] for step in steps]
    assert {"open .next", "open", "open to write .next"} <= set(names)
    if rotation != "none":
        assert "os.truncate" in names and "os.rename .next" in names


@pytest.mark.parametrize("rotation", ["lenient", "strict"])
async def test_a_refresh_killed_during_the_response_loses_the_login_only_with_strict_rotation(
    sandbox, tmp_path, rotation
):
    sandbox.accounts.rotation = rotation
    account = log_in(sandbox, tmp_path / "login.json")
    before = set(sandbox.accounts.refresh_tokens)
    sandbox.controls.hold("token")
    async with start_refresh(sandbox, account, steps=0) as process:
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        process.process.kill()
        await process.process.wait()
    sandbox.controls.release("token")
    await wait_until(lambda: set(sandbox.accounts.refresh_tokens) != before)

    assert await play_once(sandbox, account) == (
        None if rotation == "lenient" else "platform-credentials"
    )


async def test_a_slow_token_response_is_awaited_after_its_plays_have_timed_out(sandbox, tmp_path):
    """Without this, a server that invalidates the used refresh token would end the login."""
    sandbox.accounts.rotation = "strict"
    account = log_in(sandbox, tmp_path / "login.json")
    quick = {**account, "play_timeout": 0.5}
    sandbox.controls.hold("token")
    async with run_test_edge(sandbox, platform=quick) as edge:
        assert (await edge.play()).reason == "platform-timeout"
        assert (await edge.play()).reason == "platform-timeout"
        sandbox.controls.release("token")

        async def is_playable() -> bool:
            return (await edge.play()).status == 302

        await wait_until(is_playable)
        assert sandbox.controls.calls["token"] == 1


async def test_a_stopping_edge_does_not_wait_for_the_file_lock(sandbox, tmp_path):
    account = log_in(sandbox, tmp_path / "login.json")
    with (tmp_path / "login.json.lock").open("w") as held_elsewhere:
        fcntl.flock(held_elsewhere, fcntl.LOCK_EX)
        edge = run_test_edge(sandbox, platform={**account, "play_timeout": 0.5})
        running = await edge.__aenter__()
        assert (await running.play()).reason == "platform-timeout"
        async with asyncio.timeout(TOKEN_TIMEOUT_SECONDS / 2):
            await edge.__aexit__(None, None, None)

    assert sandbox.controls.calls["token"] == 0


async def test_a_stopping_edge_waits_for_a_token_request_in_flight(sandbox, tmp_path):
    sandbox.accounts.rotation = "strict"
    account = log_in(sandbox, tmp_path / "login.json")
    sandbox.controls.hold("token")
    edge = run_test_edge(sandbox, platform=account)
    await edge.__aenter__()
    await wait_until(lambda: sandbox.controls.waiting["token"] == 1)
    stopping = asyncio.create_task(edge.__aexit__(None, None, None))
    done, _ = await asyncio.wait([stopping], timeout=1)
    assert not done
    sandbox.controls.release("token")
    await stopping

    assert await play_once(sandbox, account) is None


@pytest.mark.parametrize(
    "members",
    [
        {"expires_in": "soon"},
        {"expires_in": 0},
        {"access_token": None},
        {"access_token": ""},
        {"error": ""},
        {"scope": 7},
    ],
)
async def test_a_new_refresh_token_is_stored_even_if_the_rest_of_the_response_is_invalid(
    sandbox, tmp_path, members
):
    file = tmp_path / "login.json"
    account = log_in(sandbox, file)
    body = {"access_token": "a", "expires_in": 3600, "refresh_token": "the-next", **members}
    sandbox.controls.set_fault("token", Fault(status=200, body=json.dumps(body)))
    await play_once(sandbox, account)

    assert json.loads(file.read_text())["refresh_token"] == "the-next"


@pytest.mark.parametrize("status", [200, 400, 401, 403])
async def test_an_error_response_does_not_replace_the_refresh_token(sandbox, tmp_path, status):
    file = tmp_path / "login.json"
    account, before = log_in(sandbox, file), file.read_text()
    body = {"error": "temporarily_unavailable", "refresh_token": "redacted"}
    sandbox.controls.set_fault("token", Fault(status=status, body=json.dumps(body)))
    await play_once(sandbox, account)

    assert file.read_text() == before


@pytest.mark.parametrize("token", ["", "a" * 5000, "a\r\nb", "é", 7, ["x"], None])
async def test_an_invalid_refresh_token_does_not_replace_the_stored_one(sandbox, tmp_path, token):
    file = tmp_path / "login.json"
    account, before = log_in(sandbox, file), file.read_text()
    body = {"access_token": "a", "expires_in": 3600, "refresh_token": token}
    sandbox.controls.set_fault("token", Fault(status=200, body=json.dumps(body)))
    await play_once(sandbox, account)

    assert file.read_text() == before


@pytest.mark.parametrize(
    "content", ['{"refresh_', '{"refresh_token": ""}', "[" * 200_000, "\0" * 8192, '"x"']
)
async def test_an_incomplete_next_file_does_not_replace_the_refresh_token(
    sandbox, tmp_path, content
):
    file = tmp_path / "login.json"
    account = log_in(sandbox, file)
    (tmp_path / "login.json.next").write_text(content)

    assert await play_once(sandbox, account) is None


async def test_a_symbolic_link_to_the_file_is_kept(sandbox, tmp_path):
    (tmp_path / "volume").mkdir()
    real = tmp_path / "volume" / "kept.json"
    account = log_in(sandbox, real)
    link = tmp_path / "login.json"
    link.symlink_to(real)
    before = real.read_text()
    assert await play_once(sandbox, {**account, "login_file": str(link)}) is None

    assert link.is_symlink() and real.read_text() != before


async def test_a_refresh_by_root_keeps_the_owner_of_the_file(sandbox, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can change the owner of a file")
    file = tmp_path / "login.json"
    account, before = log_in(sandbox, file), file.read_text()
    os.chown(file, 65534, 65534)
    assert await play_once(sandbox, account) is None

    assert file.read_text() != before
    for name in ("login.json", "login.json.lock"):
        assert (tmp_path / name).stat().st_uid == 65534


async def test_a_failed_refresh_leaves_the_file_unchanged(sandbox, tmp_path):
    file = tmp_path / "login.json"
    account, before = log_in(sandbox, file), file.read_text()
    for broken in (Fault(status=500), Fault(status=200, body="<html>"), Fault(cut="within")):
        sandbox.controls.set_fault("token", broken)
        assert await play_once(sandbox, account) is not None
        assert file.read_text() == before
    sandbox.controls.set_fault("token", None)

    assert await play_once(sandbox, account) is None
