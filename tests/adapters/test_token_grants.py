"""The contract tests of every kind of key, every grant and both APIs, and their error messages."""

import asyncio
import json
import stat

import pytest
from account_settings import ACCOUNTS, LOGIN, PASSWORD, PRIVATE, PUBLIC, V2, log_in
from support import run_test_edge, wait_until

from proxy.sandbox.accounts import Accounts
from proxy.sandbox.controls import Fault
from proxy.sandbox.locks import Locks


@pytest.fixture(params=ACCOUNTS)
def account(request, sandbox, tmp_path):
    if request.param == "login":
        return log_in(sandbox, tmp_path / "login.json")
    return ACCOUNTS[request.param]


OUTCOMES = {
    "x8demo1": None,
    "x8live1": None,
    "k8demoPrivateKnownToYou": None,
    "x8null": "stream-unavailable",
    "x8offair": "live-off-air",
    "x8forbidden": "platform-permission",
    "x8private": "video-private",
    "x8password": "video-password",
    "x8geo": "video-geoblocked",
    "x8missing": "video-not-found",
    "x8throttled": "platform-throttled",
    "x8error": "platform-unreachable",
    "x8slow": "platform-timeout",
    "x8garbage": "platform-bad-response",
    "x8elsewhere": "stream-host-not-allowed",
}
# It is unknown how v2 reports a live channel that is off air; an empty list is assumed.
V2_OUTCOMES = {**OUTCOMES, "x8offair": "stream-unavailable"}


async def test_every_account_gets_the_same_outcome_for_each_video(sandbox, account):
    outcomes = V2_OUTCOMES if account == V2 else OUTCOMES
    async with run_test_edge(sandbox, platform=account) as edge:
        responses = await asyncio.gather(*(edge.play(video) for video in outcomes))

        assert (
            dict(zip(outcomes, (response.reason for response in responses), strict=True))
            == outcomes
        )
        statuses = {response.status for response in responses if response.reason is None}
        assert statuses == {302}


async def test_a_stream_url_is_locked_to_the_viewers_address(sandbox, account):
    async with run_test_edge(sandbox, platform=account) as edge:
        url = (await edge.play(source="127.0.0.7")).location

        assert (await edge.get(url, source="127.0.0.7")).status == 200
        assert (await edge.get(url, source="127.0.0.8")).status == 403


async def test_a_refused_access_token_is_replaced_once(sandbox, account):
    async with run_test_edge(sandbox, platform=account) as edge:
        await edge.play()
        sandbox.accounts.access_tokens.clear()

        assert (await edge.play()).status == 302
        assert sandbox.controls.calls == {"token": 2, "video": 3}


@pytest.mark.parametrize("flag", ["no_ip_lock", "no_expire"])
async def test_no_ip_lock_and_no_expire_each_lift_only_their_own_limit(
    sandbox, account, flag, clock
):
    sandbox.locks = Locks(ttl=60)
    async with run_test_edge(sandbox, platform={**account, flag: True}) as edge:
        url = (await edge.play(source="127.0.0.7")).location
        status_elsewhere = (await edge.get(url, source="127.0.0.8")).status
        late, sandbox.now = sandbox.now() + 61, lambda: late
        status_later = (await edge.get(url, source="127.0.0.7")).status

        assert (status_elsewhere, status_later) == (
            (200, 403) if flag == "no_ip_lock" else (403, 200)
        )


@pytest.mark.parametrize(
    ("account", "message"),
    [
        (PUBLIC, "invalid_client; this grant needs a private API key; for a public one, see docs"),
        (
            {**PASSWORD, "api_key": "sandbox", "api_secret": "sandbox-secret"},
            "invalid_client; this grant needs a public API key; for a private one, use grant client",
        ),
        ({**V2, **PUBLIC}, "invalid_client; this grant needs a private API key"),
        (
            {**PASSWORD, "password": "wrong-password"},
            "invalid_grant; the user name or the password is wrong",
        ),
    ],
)
async def test_a_wrong_key_kind_or_password_is_explained_in_readyz(sandbox, account, message):
    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).reason == "platform-credentials"
        ready = await edge.get(f"{edge.operator}/readyz")

        assert message in ready.json["platform"]["token"]["detail"]
        assert "-secret" not in ready.body.decode() + edge.log.getvalue()
        assert "wrong-password" not in ready.body.decode() + edge.log.getvalue()


async def test_v2_without_the_required_scope_is_refused_as_platform_permission(sandbox):
    async with run_test_edge(sandbox, platform={**V2, "scope": "something"}) as edge:
        assert (await edge.play()).reason == "platform-permission"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"stream_urls": []}, "stream-unavailable"),
        ({"stream_urls": [{}]}, "stream-unavailable"),
        ({"stream_urls": [{"stream_url": None}]}, "stream-unavailable"),
        ({"stream_urls": [{"stream_url": 7}]}, "platform-bad-response"),
        ({"stream_urls": [{"stream_url": ""}]}, "platform-bad-response"),
        ({"stream_urls": "https://dmcdn.net/x"}, "platform-bad-response"),
        ({"stream_urls": [["https://dmcdn.net/x"]]}, "platform-bad-response"),
        ({"stream_urls": [{"stream_url": "https://evil.example/x"}]}, "stream-host-not-allowed"),
        ({}, "platform-bad-response"),
        ({"error": {"code": "RESOURCE_NOT_FOUND"}}, "video-not-found"),
        ({"error": {"code": "X", "details": {"reason": "DM007"}}}, "video-geoblocked"),
    ],
)
async def test_each_v2_response_maps_to_its_reason(sandbox, body, reason):
    async with run_test_edge(sandbox, platform=V2) as edge:
        sandbox.controls.set_fault("video", Fault(status=200, body=json.dumps(body)))

        assert (await edge.play()).reason == reason


async def test_v2_refuses_mp4_as_format_unavailable(sandbox):
    async with run_test_edge(sandbox, platform=V2) as edge:
        response = await edge.get(f"{edge.player}/play/x8demo1.mp4?token={edge.mint()}")
        assert (response.status, response.reason) == (404, "format-unavailable")
        url = f"{edge.player}/stream-urls?video_id=x8demo1&token={edge.mint()}&formats="
        assert (await edge.get(f"{url}stream_h264_url")).json == {"stream_h264_url": None}
        both = await edge.get(f"{url}stream_h264_url,stream_hls_url")
        assert both.json["stream_h264_url"] is None and both.json["stream_hls_url"]


class TestLogin:
    """An edge that uses the login which `playgate login` stored."""

    async def test_every_refresh_stores_the_newest_refresh_token_in_the_file(
        self, sandbox, tmp_path, clock
    ):
        file = tmp_path / "login.json"
        account = log_in(sandbox, file)
        seen = {file.read_text()}
        async with run_test_edge(sandbox, clock=clock, platform=account) as edge:
            for _ in range(3):
                assert (await edge.play()).status == 302
                assert file.read_text() not in seen
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
                seen.add(file.read_text())
                sandbox.accounts.access_tokens.clear()
                clock.advance(6)  # a replacement for a refused token is used for at least 5 seconds

    async def test_two_edges_share_a_login_even_if_each_refresh_token_is_valid_once(
        self, sandbox, tmp_path, clock
    ):
        sandbox.accounts.rotation = "strict"
        account = log_in(sandbox, tmp_path / "login.json")
        async with (
            run_test_edge(sandbox, clock=clock, platform=account) as one,
            run_test_edge(sandbox, clock=clock, platform=account) as other,
        ):
            for _ in range(3):
                sandbox.accounts.access_tokens.clear()
                clock.advance(6)
                responses = await asyncio.gather(one.play(), other.play())
                assert [response.status for response in responses] == [302, 302]

    async def test_the_refresh_token_is_kept_if_the_server_returns_no_new_one(
        self, sandbox, tmp_path
    ):
        sandbox.accounts.rotation = "none"
        file = tmp_path / "login.json"
        account, before = log_in(sandbox, file), file.read_text()
        async with run_test_edge(sandbox, platform=account) as edge:
            assert (await edge.play()).status == 302

        assert file.read_text() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["login.json", "login.json.lock"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "no login is stored here: run playgate login"),
            ("", "no login is stored here: run playgate login"),
            ('{"refresh_', "no login is stored here: run playgate login"),
            ("[]", "no login is stored here: run playgate login"),
            ('{"refresh_token": 7, "api_key": "a"}', "no login is stored here: run playgate login"),
            ('{"refresh_token": "r"}', "this login was created with another API key"),
            (
                '{"refresh_token": "r", "api_key": "x"}',
                "this login was created with another API key",
            ),
            (
                '{"refresh_token": "hush", "api_key": "sandbox-public"}',
                "HTTP 400 invalid_grant; the login has expired or was revoked: run playgate login",
            ),
        ],
    )
    async def test_readyz_says_what_to_do_about_a_missing_or_invalid_login(
        self, sandbox, tmp_path, content, message
    ):
        file = tmp_path / "login.json"
        if content is not None:
            file.write_text(content)
        async with run_test_edge(sandbox, platform={**LOGIN, "login_file": str(file)}) as edge:
            assert (await edge.play()).reason == "platform-credentials"
            ready = await edge.get(f"{edge.operator}/readyz")

            assert message in ready.json["platform"]["token"]["detail"]
            assert "hush" not in ready.body.decode() + edge.log.getvalue()

    async def test_a_login_created_later_is_used_without_a_restart(self, sandbox, tmp_path):
        file = tmp_path / "login.json"
        async with run_test_edge(sandbox, platform={**LOGIN, "login_file": str(file)}) as edge:
            assert (await edge.play()).reason == "platform-credentials"
            log_in(sandbox, file)

            async def plays() -> bool:
                return (await edge.play()).status == 302

            await wait_until(plays)

    async def test_no_token_is_requested_if_the_login_file_cannot_be_written(
        self, sandbox, tmp_path
    ):
        """A folder takes the place of the `.next` file, because root can write any file."""
        account = log_in(sandbox, tmp_path / "login.json")
        (tmp_path / "login.json.next").mkdir()
        async with run_test_edge(sandbox, platform=account) as edge:
            assert (await edge.play()).reason == "account-unavailable"
            ready = await edge.get(f"{edge.operator}/readyz")

            assert "the login cannot be" in ready.json["platform"]["token"]["detail"]
            assert sandbox.controls.calls["token"] == 0

    async def test_a_play_waits_for_a_locked_login_no_longer_than_its_timeout(
        self, sandbox, tmp_path
    ):
        account = log_in(sandbox, tmp_path / "login.json")
        sandbox.controls.hold("token")
        quick = {**account, "play_timeout": 1}
        async with run_test_edge(sandbox, platform={**account, "play_timeout": 100}):
            await wait_until(lambda: sandbox.controls.waiting["token"] == 1)
            async with run_test_edge(sandbox, platform=quick) as edge:
                assert (await edge.play()).reason == "platform-timeout"
            sandbox.controls.release("token")


def test_a_code_is_valid_once_and_strict_rotation_invalidates_used_refresh_tokens():
    accounts = Accounts(rotation="strict")
    code = accounts.authorize("s", accounts.callback_url, now=0)
    first = accounts.exchange_code(code, accounts.callback_url, now=0)
    second = accounts.refresh(str(first["refresh_token"]), now=0)

    assert list(accounts.refresh_tokens) == [second["refresh_token"]]
    assert not accounts.codes


@pytest.mark.parametrize("account", [PRIVATE, PASSWORD, V2])
async def test_grants_without_a_login_write_no_file(sandbox, account, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with run_test_edge(sandbox, platform=account) as edge:
        assert (await edge.play()).status == 302

    assert list(tmp_path.iterdir()) == []
