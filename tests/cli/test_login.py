"""`playgate login` and `logout`, including the pages in the browser."""

import asyncio
import json
import os
import re
import signal
import stat
from contextlib import asynccontextmanager

import aiohttp
import pytest
from account_settings import LOGIN, log_in
from ports import free_port
from processes import playgate, run_command, run_process
from support import SANDBOX_TOML, run_test_edge, wait_until
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


def build_environment(sandbox, account) -> dict[str, str]:
    return {
        "PLAYGATE_CONFIG": str(SANDBOX_TOML),
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/token",
        "PLAYGATE_PLATFORM__REST_URL": sandbox.origin,
        # Nothing listens there, even if a demo runs on this machine.
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{free_port()}",
        "PLAYGATE_WEB__PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
        **{f"PLAYGATE_PLATFORM__{name.upper()}": value for name, value in account.items()},
    }


@asynccontextmanager
async def run_login(sandbox, account, *options: str):
    """Run `playgate login`; yield the process and the URL that it prints."""
    async with run_process(
        *playgate("login", "--no-browser", *options),
        env=build_environment(sandbox, account),
        stdin=asyncio.subprocess.PIPE,
    ) as process:
        await process.wait_for_output("/oauth/authorize?")
        await process.wait_for_output("\n\n")
        printed = re.search(r"^  (http\S+)$", process.output, re.MULTILINE)
        assert printed is not None, process.output
        yield process, printed[1]


async def submit_login_form(url: str, answer: str = "allow") -> str:
    """Submit the login page's form; return the URL of the redirect."""
    form = {**URL(url).query, "username": "publisher", "password": "sandbox-password"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            URL(url).with_query(None), data={**form, "answer": answer}, allow_redirects=False
        ) as response,
    ):
        assert response.status == 302, await response.text()
        return response.headers["Location"]


async def fetch_page(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as response:
        return response.status, await response.text()


async def run(sandbox, account, *command: str) -> tuple[int, str]:
    return await run_command(*playgate(*command), env=build_environment(sandbox, account))


async def test_an_edge_plays_with_a_login_made_in_a_browser(
    sandbox, account, callback, page, tmp_path
):
    file = tmp_path / "login.json"
    async with run_login(sandbox, account) as (process, url):
        await page.goto(url)
        await page.fill("input[name=password]", "wrong")
        await page.click("text=Allow")
        assert "Invalid username or password" in await page.inner_text("body")
        await page.fill("input[name=password]", "sandbox-password")
        await page.click("text=Allow")
        await page.wait_for_selector("h1:text('Logged in')")
        assert page.url.startswith(callback)
        assert await process.wait_for_exit() == 0

    assert f"Logged in. The login is stored in {file}." in process.output
    assert "Account x1sandbox; scopes: read_video_streams." in process.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    refresh_token = json.loads(file.read_text())["refresh_token"]
    assert refresh_token not in process.output and "-secret" not in process.output
    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302

    async with run_login(sandbox, account) as (process, url):
        await fetch_page(await submit_login_form(url))
        assert await process.wait_for_exit() == 0  # replaces the previous login
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
async def test_a_callback_without_this_logins_state_is_refused_and_the_login_continues(
    sandbox, account, callback, forged, says
):
    async with run_login(sandbox, account) as (process, url):
        status, text = await fetch_page(f"{callback}{forged}")
        assert (status, says in text) == (400, True)
        await process.wait_for_output("Refused a callback: ")
        assert sandbox.controls.calls["token"] == 0 and "stolen" not in process.output

        assert (await fetch_page(await submit_login_form(url)))[0] == 200
        assert await process.wait_for_exit() == 0


async def test_a_callback_of_another_login_is_refused(sandbox, account, tmp_path):
    async with run_login(sandbox, account) as (process, url):
        other = URL(url).update_query(state="of-another-login")
        status, _ = await fetch_page(await submit_login_form(str(other)))
        assert status == 400
        await process.wait_for_output("Refused a callback")

    assert not (tmp_path / "login.json").exists()


async def test_a_denied_login_fails_and_stores_nothing(sandbox, account, tmp_path):
    async with run_login(sandbox, account) as (process, url):
        status, text = await fetch_page(await submit_login_form(url, "deny"))
        assert (status, "Not logged in" in text) == (400, True)
        assert await process.wait_for_exit() == 1

    assert "not logged in: Dailymotion denied the authorization ('access_denied')" in process.output
    assert not (tmp_path / "login.json").exists()


async def test_a_refused_code_is_reported_in_the_browser_and_in_the_terminal(
    sandbox, account, callback
):
    async with run_login(sandbox, account) as (process, url):
        state = URL(url).query["state"]
        status, text = await fetch_page(f"{callback}?code=made-up&state={state}")
        assert (status, "See the terminal for details." in text) == (400, True)
        assert await process.wait_for_exit() == 1

    assert "invalid_grant; the code has expired or was used before" in process.output
    assert "made-up" not in process.output


async def test_a_failed_login_keeps_the_previous_login(sandbox, account, tmp_path):
    file = tmp_path / "login.json"
    async with run_login(sandbox, account) as (process, url):
        await fetch_page(await submit_login_form(url))
        await process.wait_for_exit()
    before = file.read_text()
    for broken in (Fault(status=500), Fault(status=200, body='{"access_token": "a"}')):
        async with run_login(sandbox, account) as (process, url):
            back = await submit_login_form(url)
            sandbox.controls.set_fault("token", broken)
            await fetch_page(back)
            assert await process.wait_for_exit() == 1
            sandbox.controls.set_fault("token", None)
        assert "not logged in: platform-" in process.output
        assert file.read_text() == before


async def test_a_login_on_another_machine_works_by_pasting_the_url(sandbox, account):
    account["redirect_uri"] = sandbox.accounts.callback_url = "https://play.example.com/callback"
    async with run_login(sandbox, account, "--paste") as (process, url):
        back = await submit_login_form(url)
        process.process.stdin.write(f"{back}\n".encode())
        assert await process.wait_for_exit() == 0

    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302


async def test_the_state_of_a_pasted_url_is_checked(sandbox, account):
    async with run_login(sandbox, account, "--paste") as (process, _url):
        process.process.stdin.write(b"http://127.0.0.1/callback?code=c&state=wrong\n")
        assert await process.wait_for_exit() == 1

    assert "not logged in: The state in this URL does not belong to this login" in process.output


async def test_logout_revokes_the_login_and_deletes_the_file(sandbox, account, tmp_path):
    async with run_login(sandbox, account) as (process, url):
        await fetch_page(await submit_login_form(url))
        await process.wait_for_exit()
    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302
        assert await run(sandbox, account, "logout") == (0, "Logged out.\n")

        assert sandbox.accounts.refresh_tokens == {}
        assert not (tmp_path / "login.json").exists()
        assert (await edge.play()).reason == "platform-credentials"

    code, output = await run(sandbox, account, "logout")
    assert (code, "no login is stored here" in output) == (1, True)


async def test_logout_of_an_invalid_login_deletes_the_file(sandbox, account, tmp_path):
    async with run_login(sandbox, account) as (process, url):
        await fetch_page(await submit_login_form(url))
        await process.wait_for_exit()
    sandbox.accounts.refresh_tokens.clear()
    code, output = await run(sandbox, account, "logout")

    assert (code, "was no longer valid" in output) == (0, True)
    assert not (tmp_path / "login.json").exists()


async def test_logout_without_dailymotion_keeps_the_login(sandbox, account, tmp_path):
    async with run_login(sandbox, account) as (process, url):
        await fetch_page(await submit_login_form(url))
        await process.wait_for_exit()
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
async def test_settings_that_cannot_work_are_reported_before_the_login(
    sandbox, account, changes, says
):
    code, output = await run(sandbox, {**account, **changes}, "login", "--no-browser")

    assert code == 1
    assert says in output
    assert "Traceback" not in output and "/oauth/authorize" not in output


@pytest.mark.parametrize("command", [["logout"], ["doctor"]])
async def test_an_inaccessible_login_file_is_reported(sandbox, account, tmp_path, command):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for file, says in ((f"/tmp/{'l' * 300}", "too long"), (str(tmp_path / "loop"), "symbolic")):
        code, output = await run(sandbox, {**account, "login_file": file}, *command)

        assert code == 1 and "the login cannot be read or written (" in output and says in output
        assert "Traceback" not in output


@pytest.mark.parametrize("ending", ["cancelled", "port in use"])
async def test_a_login_restores_the_token_of_an_interrupted_refresh(
    sandbox, account, tmp_path, ending
):
    """A refresh was killed before its rename: the only valid refresh token is in the .next file."""
    file = tmp_path / "login.json"
    log_in(sandbox, file)
    good = file.read_text()
    (tmp_path / "login.json.next").write_text(good)
    file.write_text(json.dumps({"api_key": account["api_key"], "refresh_token": "void"}))
    if ending == "cancelled":
        async with run_login(sandbox, account) as (process, _url):
            assert await process.stop(signal.SIGINT) == 130
    else:
        taken = {**account, "redirect_uri": f"{sandbox.origin}/callback"}
        assert (await run(sandbox, taken, "login", "--no-browser"))[0] == 1

    assert file.read_text() == good


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["logout", "doctor", "doctor after its last check"])
async def test_a_token_refresh_is_completed_before_a_signal_ends_the_command(
    sandbox, account, tmp_path, command, number
):
    sandbox.accounts.rotation = "strict"
    account |= log_in(sandbox, tmp_path / "login.json")
    if command == "doctor after its last check":
        account |= {"play_timeout": "0.5"}
    sandbox.controls.hold("token")
    async with run_process(
        *playgate(command.partition(" ")[0]), env=build_environment(sandbox, account)
    ) as process:
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        if command == "doctor after its last check":
            await process.wait_for_output("refresh token is still being exchanged")
            await process.wait_for_output("does not respond")  # its last line
        process.process.send_signal(number)
        process.process.send_signal(number)  # timeout(1) sends two signals
        await process.wait_for_output("for Dailymotion's response")
        sandbox.controls.release("token")
        assert await process.wait_for_exit() == 128 + number

    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302


async def test_a_second_signal_ends_a_command_at_once(sandbox, account, tmp_path):
    account |= log_in(sandbox, tmp_path / "login.json")
    sandbox.controls.hold("token")
    async with run_process(*playgate("logout"), env=build_environment(sandbox, account)) as process:
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        process.process.send_signal(signal.SIGINT)
        await process.wait_for_output("for Dailymotion's response")
        assert await process.stop(signal.SIGINT) == -signal.SIGINT


async def test_a_signal_that_the_parent_ignores_stays_ignored(sandbox, account, tmp_path):
    account |= log_in(sandbox, tmp_path / "login.json")
    sandbox.controls.hold("token")
    shell = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    async with run_process(
        *shell, *playgate("logout"), env=build_environment(sandbox, account)
    ) as process:
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        process.process.send_signal(signal.SIGINT)
        sandbox.controls.release("token")
        assert await process.wait_for_exit() == 0

    assert "Logged out." in process.output


async def test_a_terminal_browser_does_not_block_a_signal(sandbox, account, tmp_path):
    browser, pid = tmp_path / "browser", tmp_path / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 60 >/dev/null 2>&1\n")
    browser.chmod(0o755)
    env = {**build_environment(sandbox, account), "BROWSER": f"{browser} %s"}
    async with run_process(*playgate("login"), env=env) as process:
        await wait_until(lambda: pid.exists() and pid.read_text().strip(), seconds=60)
        try:
            assert await process.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        finally:
            os.kill(int(pid.read_text()), signal.SIGKILL)

    assert "Waiting" not in process.output


async def test_a_code_exchange_in_flight_is_completed_and_other_callbacks_are_refused(
    sandbox, account, tmp_path
):
    sandbox.controls.hold("token")
    async with run_login(sandbox, account) as (process, url):
        returned = asyncio.create_task(fetch_page(await submit_login_form(url)))
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1, seconds=60)
        state = URL(url).query["state"]
        denied = URL(account["redirect_uri"]).with_query(error="access_denied", state=state)
        assert "Already handled" in (await fetch_page(str(denied)))[1]
        process.process.send_signal(signal.SIGTERM)
        await process.wait_for_output("for Dailymotion's response")
        sandbox.controls.release("token")
        assert await process.wait_for_exit() == 128 + signal.SIGTERM
        assert "playgate login was stopped" in (await returned)[1]

    async with run_test_edge(
        sandbox, platform={**account, "login_file": str(tmp_path / "login.json")}
    ) as edge:
        assert (await edge.play()).status == 302


async def test_a_malformed_callback_is_not_logged(sandbox, account):
    async with run_login(sandbox, account) as (process, _url):
        callback = URL(account["redirect_uri"])
        reader, writer = await asyncio.open_connection(callback.host, callback.port)
        writer.write(b"GET /callback?code=THE-CODE&state=" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await process.stop()

    assert "THE-CODE" not in process.output and "Traceback" not in process.output


async def test_a_port_in_use_is_reported(sandbox, account):
    account["redirect_uri"] = f"{sandbox.origin}/callback"
    code, output = await run(sandbox, account, "login", "--no-browser")

    assert code == 1
    assert f"cannot listen on {URL(sandbox.origin).authority} for the browser: " in output
