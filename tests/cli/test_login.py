"""`playgate login` and `logout`, from the command to the page and back."""

import asyncio
import json
import os
import re
import signal
import stat
from contextlib import asynccontextmanager

import aiohttp
import pytest
from account_settings import LOGIN, logged_in
from ports import free_port
from processes import Process, playgate, started
from support import SANDBOX_TOML, an_edge, eventually
from yarl import URL

from proxy.sandbox.controls import Fault

PAGE = "http://127.0.0.1:{port}/callback"


@pytest.fixture
def callback(sandbox):
    sandbox.accounts.callback_url = PAGE.format(port=free_port())
    return sandbox.accounts.callback_url


@pytest.fixture
def account(callback, tmp_path):
    return {**LOGIN, "login_file": str(tmp_path / "login.json"), "redirect_uri": callback}


def environment(sandbox, account) -> dict[str, str]:
    return {
        "PLAYGATE_CONFIG": str(SANDBOX_TOML),
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/token",
        "PLAYGATE_PLATFORM__REST_URL": sandbox.origin,
        **{f"PLAYGATE_PLATFORM__{name.upper()}": value for name, value in account.items()},
    }


@asynccontextmanager
async def logging_in(sandbox, account, *options: str):
    """Run `playgate login`; yield it and the address that it prints."""
    async with started(
        *playgate("login", "--no-browser", *options),
        env=environment(sandbox, account),
        stdin=asyncio.subprocess.PIPE,
    ) as process:
        await process.says("/oauth/authorize?")
        await process.says("\n\n")
        printed = re.search(r"^  (http\S+)$", process.output, re.MULTILINE)
        assert printed is not None, process.output
        yield process, printed[1]


async def ended(process: Process) -> int:
    async with asyncio.timeout(60):
        code = await process.process.wait()
        await process.read_to_the_end()
    return code


async def allowed(url: str, answer: str = "allow") -> str:
    """Say yes on the page, as a browser's form does; return where that leads."""
    form = {**URL(url).query, "username": "publisher", "password": "sandbox-password"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            URL(url).with_query(None), data={**form, "answer": answer}, allow_redirects=False
        ) as response,
    ):
        assert response.status == 302, await response.text()
        return response.headers["Location"]


async def fetched(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        return response.status, await response.text()


async def run(sandbox, account, *command: str) -> tuple[int, str]:
    async with started(*playgate(*command), env=environment(sandbox, account)) as process:
        return await ended(process), process.output


async def test_a_login_in_a_browser_and_the_edge_that_lives_on_it(
    sandbox, account, callback, page, tmp_path
):
    file = tmp_path / "login.json"
    async with logging_in(sandbox, account) as (process, url):
        await page.goto(url)
        await page.fill("input[name=password]", "wrong")
        await page.click("text=Allow")
        assert "Invalid username or password" in await page.inner_text("body")
        await page.fill("input[name=password]", "sandbox-password")
        await page.click("text=Allow")
        await page.wait_for_selector("h1:text('Logged in')")
        assert page.url.startswith(callback)
        assert await ended(process) == 0

    assert f"Logged in; the login is kept in {file}." in process.output
    assert "Account x1sandbox; granted: read_video_streams." in process.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    refresh_token = json.loads(file.read_text())["refresh_token"]
    assert refresh_token not in process.output and "-secret" not in process.output
    async with an_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302

    async with logging_in(sandbox, account) as (process, url):
        await fetched(await allowed(url))
        assert await ended(process) == 0  # over the old one
    assert json.loads(file.read_text())["refresh_token"] != refresh_token


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        ("?code=stolen", "has no state"),
        ("?code=stolen&state=", "does not belong to this login"),
        ("?code=stolen&state=wrong", "does not belong to this login"),
        ("?code=stolen&state=%ff", "does not belong to this login"),
        ("?error=access_denied&state=wrong", "does not belong to this login"),
        ("?code=a&code=b&state=wrong", "repeats a parameter"),
        ("", "has no state"),
    ],
)
async def test_a_callback_without_our_state_is_refused_and_ends_nothing(
    sandbox, account, callback, forged, says
):
    async with logging_in(sandbox, account) as (process, url):
        status, text = await fetched(f"{callback}{forged}")
        assert (status, says in text) == (400, True)
        await process.says("Refused a callback: ")
        assert sandbox.controls.calls["token"] == 0 and "stolen" not in process.output

        assert (await fetched(await allowed(url)))[0] == 200
        assert await ended(process) == 0


async def test_two_logins_do_not_take_each_others_answer(sandbox, account, tmp_path):
    async with logging_in(sandbox, account) as (process, url):
        other = URL(url).update_query(state="of-another-login")
        status, _ = await fetched(await allowed(str(other)))
        assert status == 400
        await process.says("Refused a callback")

    assert not (tmp_path / "login.json").exists()


async def test_a_user_who_says_no_is_taken_at_their_word(sandbox, account, tmp_path):
    async with logging_in(sandbox, account) as (process, url):
        status, text = await fetched(await allowed(url, "deny"))
        assert (status, "Not logged in" in text) == (400, True)
        assert await ended(process) == 1

    assert "not logged in: Dailymotion denied the authorization ('access_denied')" in process.output
    assert not (tmp_path / "login.json").exists()


async def test_a_code_that_dailymotion_refuses_is_said_on_both_sides(sandbox, account, callback):
    async with logging_in(sandbox, account) as (process, url):
        state = URL(url).query["state"]
        status, text = await fetched(f"{callback}?code=made-up&state={state}")
        assert (status, "The terminal says more." in text) == (400, True)
        assert await ended(process) == 1

    assert "invalid_grant; the code has expired or was used before" in process.output
    assert "made-up" not in process.output


async def test_a_login_that_failed_leaves_the_one_before(sandbox, account, tmp_path):
    file = tmp_path / "login.json"
    async with logging_in(sandbox, account) as (process, url):
        await fetched(await allowed(url))
        await ended(process)
    before = file.read_text()
    for broken in (Fault(status=500), Fault(status=200, body='{"access_token": "a"}')):
        async with logging_in(sandbox, account) as (process, url):
            back = await allowed(url)
            sandbox.controls.set_fault("token", broken)
            await fetched(back)
            assert await ended(process) == 1
            sandbox.controls.set_fault("token", None)
        assert "not logged in: platform-" in process.output
        assert file.read_text() == before


async def test_a_browser_elsewhere_has_its_address_pasted(sandbox, account):
    account["redirect_uri"] = sandbox.accounts.callback_url = "https://play.example.com/callback"
    async with logging_in(sandbox, account, "--paste") as (process, url):
        back = await allowed(url)
        process.process.stdin.write(f"{back}\n".encode())
        assert await ended(process) == 0

    async with an_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302


async def test_a_pasted_address_is_checked_too(sandbox, account):
    async with logging_in(sandbox, account, "--paste") as (process, _url):
        process.process.stdin.write(b"http://127.0.0.1/callback?code=c&state=wrong\n")
        assert await ended(process) == 1

    assert "not logged in: The state in this URL does not belong to this login" in process.output


async def test_logout_voids_the_login_at_dailymotion_and_here(sandbox, account, tmp_path):
    async with logging_in(sandbox, account) as (process, url):
        await fetched(await allowed(url))
        await ended(process)
    async with an_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302
        assert await run(sandbox, account, "logout") == (0, "Logged out.\n")

        assert sandbox.accounts.refresh_tokens == {}
        assert not (tmp_path / "login.json").exists()
        assert (await edge.play()).reason == "platform-credentials"

    code, output = await run(sandbox, account, "logout")
    assert (code, "no login is stored here" in output) == (1, True)


async def test_logout_of_a_void_login_forgets_it(sandbox, account, tmp_path):
    async with logging_in(sandbox, account) as (process, url):
        await fetched(await allowed(url))
        await ended(process)
    sandbox.accounts.refresh_tokens.clear()
    code, output = await run(sandbox, account, "logout")

    assert (code, "was void already" in output) == (0, True)
    assert not (tmp_path / "login.json").exists()


async def test_logout_without_dailymotion_keeps_the_login(sandbox, account, tmp_path):
    async with logging_in(sandbox, account) as (process, url):
        await fetched(await allowed(url))
        await ended(process)
    sandbox.controls.set_fault("token", Fault(status=500))
    code, output = await run(sandbox, account, "logout")

    assert (
        code,
        "not logged out: platform-unreachable" in output and "login.json is kept" in output,
    ) == (1, True)
    assert (tmp_path / "login.json").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"grant": "client_credentials"}, "client_credentials needs no login"),
        ({"redirect_uri": "https://play.example.com/c"}, "run playgate login --paste"),
        ({"redirect_uri": "http://play.example.com/c"}, "must be https, or http on 127.0.0.1"),
        (
            {"login_file": "login.json"},
            "platform.login_file (PLAYGATE_PLATFORM__LOGIN_FILE): must be the absolute path of a file",
        ),
        (
            {"login_file": ""},
            "platform.login_file (PLAYGATE_PLATFORM__LOGIN_FILE): is not set, but required by platform.grant",
        ),
        (
            {"login_file": "/does/not/exist/login.json"},
            "the login cannot be read or written (No such",
        ),
        (
            {"login_file": f"/tmp/{'l' * 300}"},
            "the login cannot be read or written (File name too long)",
        ),
    ],
)
async def test_what_cannot_work_is_said_before_anybody_logs_in(sandbox, account, changes, says):
    code, output = await run(sandbox, {**account, **changes}, "login", "--no-browser")

    assert code == 1
    assert says in output
    assert "Traceback" not in output and "/oauth/authorize" not in output


@pytest.mark.parametrize("command", [["logout"], ["doctor"]])
async def test_a_file_that_cannot_be_looked_at_is_said(sandbox, account, tmp_path, command):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for file, says in ((f"/tmp/{'l' * 300}", "too long"), (str(tmp_path / "loop"), "symbolic")):
        code, output = await run(sandbox, {**account, "login_file": file}, *command)

        assert code == 1 and "the login cannot be read or written (" in output and says in output
        assert "Traceback" not in output


@pytest.mark.parametrize("ending", ["given up", "port taken"])
async def test_a_login_finishes_what_was_stopped_before_it(sandbox, account, tmp_path, ending):
    """A renewal was killed before its rename: the only good refresh token is beside the file."""
    file = tmp_path / "login.json"
    logged_in(sandbox, file)
    good = file.read_text()
    (tmp_path / "login.json.next").write_text(good)
    file.write_text(json.dumps({"api_key": account["api_key"], "refresh_token": "void"}))
    if ending == "given up":
        async with logging_in(sandbox, account) as (process, _url):
            assert await process.stop(signal.SIGINT) == 130
    else:
        taken = {**account, "redirect_uri": f"{sandbox.origin}/callback"}
        assert (await run(sandbox, taken, "login", "--no-browser"))[0] == 1

    assert file.read_text() == good


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["logout", "doctor", "doctor at its end"])
async def test_a_renewal_is_seen_through_when_the_command_is_told_to_stop(
    sandbox, account, tmp_path, command, number
):
    sandbox.accounts.rotation = "strict"
    account |= logged_in(sandbox, tmp_path / "login.json")
    if command == "doctor at its end":
        account |= {"play_timeout": "0.5"}
    sandbox.controls.hold("token")
    async with started(
        *playgate(command.partition(" ")[0]), env=environment(sandbox, account)
    ) as process:
        await eventually(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        if command == "doctor at its end":
            await process.says("the refresh of the login is still running")
            await process.says("does not answer")  # its last line
        process.process.send_signal(number)
        process.process.send_signal(number)  # timeout(1) sends two
        await process.says("Waiting for Dailymotion's answer")
        sandbox.controls.release("token")
        assert await ended(process) == 128 + number

    async with an_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302


async def test_told_twice_a_command_ends_at_once(sandbox, account, tmp_path):
    account |= logged_in(sandbox, tmp_path / "login.json")
    sandbox.controls.hold("token")
    async with started(*playgate("logout"), env=environment(sandbox, account)) as process:
        await eventually(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        process.process.send_signal(signal.SIGINT)
        await process.says("Waiting for Dailymotion's answer")
        assert await process.stop(signal.SIGINT) == -signal.SIGINT


async def test_a_signal_that_is_ignored_stays_so(sandbox, account, tmp_path):
    account |= logged_in(sandbox, tmp_path / "login.json")
    sandbox.controls.hold("token")
    shell = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    async with started(*shell, *playgate("logout"), env=environment(sandbox, account)) as process:
        await eventually(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        process.process.send_signal(signal.SIGINT)
        sandbox.controls.release("token")
        assert await ended(process) == 0

    assert "Logged out." in process.output


async def test_a_browser_in_the_terminal_keeps_nobody(sandbox, account, tmp_path):
    browser, pid = tmp_path / "browser", tmp_path / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 60 >/dev/null 2>&1\n")
    browser.chmod(0o755)
    env = {**environment(sandbox, account), "BROWSER": f"{browser} %s"}
    async with started(*playgate("login"), env=env) as process:
        await eventually(lambda: pid.exists() and pid.read_text().strip(), seconds=60)
        try:
            assert await process.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        finally:
            os.kill(int(pid.read_text()), signal.SIGKILL)

    assert "Waiting" not in process.output


async def test_a_code_under_way_is_seen_through_and_nobody_else_answers(sandbox, account, tmp_path):
    sandbox.controls.hold("token")
    async with logging_in(sandbox, account) as (process, url):
        returned = asyncio.create_task(fetched(await allowed(url)))
        await eventually(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        state = URL(url).query["state"]
        denied = URL(account["redirect_uri"]).with_query(error="access_denied", state=state)
        assert "Done already" in (await fetched(str(denied)))[1]
        process.process.send_signal(signal.SIGTERM)
        await process.says("Waiting for Dailymotion's answer")
        sandbox.controls.release("token")
        assert await ended(process) == 128 + signal.SIGTERM
        assert "Playgate was stopped meanwhile" in (await returned)[1]

    async with an_edge(
        sandbox, platform={**account, "login_file": str(tmp_path / "login.json")}
    ) as edge:
        assert (await edge.play()).status == 302


async def test_a_malformed_callback_is_not_shown(sandbox, account):
    async with logging_in(sandbox, account) as (process, _url):
        callback = URL(account["redirect_uri"])
        reader, writer = await asyncio.open_connection(callback.host, callback.port)
        writer.write(b"GET /callback?code=THE-CODE&state=" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await process.stop()

    assert "THE-CODE" not in process.output and "Traceback" not in process.output


async def test_a_port_that_is_taken_is_said(sandbox, account):
    account["redirect_uri"] = f"{sandbox.origin}/callback"
    code, output = await run(sandbox, account, "login", "--no-browser")

    assert code == 1
    assert f"cannot listen on {URL(sandbox.origin).authority} for the browser's return" in output
