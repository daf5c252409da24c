"""Every instance refuses revoked tokens until each affected token has expired."""

import json
from contextlib import AsyncExitStack
from time import time

import pytest
from relay_stack import find_relay_paths
from support import NOW, OPERATOR_KEY, SANDBOX_TOML, mint, run_test_edge, wait_until

from proxy.adapters.clock import Clock
from proxy.adapters.state.redis import RedisStore
from proxy.adapters.state.store import PAGE_SIZE
from proxy.domain import revocations as domain
from proxy.domain.revocations import Revocation
from proxy.edge import revocations
from proxy.settings import Settings, load_settings

KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}


async def revoke(edge, headers=KEY, **body):
    url = f"{edge.operator}/revocations"
    return await edge.get(url, method="POST", data=json.dumps(body), headers=headers)


async def list_revocations(edge):
    response = await edge.get(f"{edge.operator}/revocations", headers=KEY)
    assert response.status == 200
    return response.json["revocations"]


@pytest.fixture
async def instances(server, start_edge):
    """Return two edges that share a state and pull more than twice a second."""
    shared = {"state": {"url": server.url, "max_staleness": 0.5}}
    return [await start_edge(**shared), await start_edge(**shared)]


async def test_a_token_can_be_revoked_by_its_jti(edge):
    minted = await edge.get(
        f"{edge.operator}/tokens", method="POST", data='{"video": "x8demo1"}', headers=KEY
    )
    valid, revoked = edge.mint(), minted.json["token"]
    response = await revoke(edge, jti=minted.json["jti"])

    assert response.status == 201
    assert response.json == {
        "jti": minted.json["jti"], "issuer": None, "before": None, "until": pytest.approx(time() + 25_206, abs=5)
    }  # fmt: skip
    assert await edge.try_play(token=revoked) == "token-revoked"
    assert edge.lines()[-1]["detail"] == "a revocation of this jti is in force"
    assert await edge.try_play(token=valid) == 302
    assert await list_revocations(edge) == [response.json]


async def test_tokens_of_a_viewer_or_a_video_issued_until_a_time_can_be_revoked(sandbox, clock):
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock) as edge:
        of_viewer = edge.play_url(token=edge.mint(subject="viewer-7"))
        of_another = edge.play_url(token=edge.mint(subject="viewer-8"))
        of_all = edge.mint("*")
        assert (await revoke(edge, sub="viewer-7")).json["before"] == NOW
        assert await edge.get_outcome(of_viewer) == "token-revoked"
        assert await edge.get_outcome(of_another) == 302

        assert (await revoke(edge, video="x8demo1", before=NOW - 1)).status == 201
        assert await edge.get_outcome(of_another) == 302
        await revoke(edge, video="x8demo1")
        assert await edge.get_outcome(of_another) == "token-revoked"
        assert await edge.try_play(token=of_all) == "token-revoked"
        assert await edge.get_outcome(edge.play_url("x8live1", token=of_all)) == 302

        response = await revoke(edge, sub="viewer-7", before=NOW - 60)
        assert response.json["before"] == NOW, "an earlier time must not narrow a revocation"
        clock.advance(1)  # tokens issued from now on are not revoked
        assert await edge.try_play(token=edge.mint(subject="viewer-7")) == 302


async def test_a_revocation_applies_to_relay_sessions_and_auth_requests(sandbox):
    async with run_test_edge(
        sandbox, delivery={"mode": "relay"}, viewer={"trusted_proxies": ["127.0.0.1"]}
    ) as edge:
        viewer = {"X-Forwarded-For": "127.0.0.9"}
        token = edge.mint(subject="viewer-7")
        first = await edge.get(edge.play_url(token=token), headers=viewer)
        playlist = find_relay_paths(first.body)[0]
        media = await edge.get(edge.player + playlist, headers=viewer)
        segment = find_relay_paths(media.body, playlist)[0]
        headers = {
            **viewer, "X-Original-URI": segment, "X-Original-Path": segment,
            "X-Original-Method": "GET",
        }  # fmt: skip
        paths = [edge.player + playlist, edge.player + segment, f"{edge.operator}/auth"]
        for path in paths:
            assert await edge.get_outcome(path, headers=headers) in {200, 204}
        await revoke(edge, sub="viewer-7")
        for path in paths:
            response = await edge.get(path, headers=headers)
            assert (response.status, response.reason) == (403, "token-revoked")


async def test_every_instance_applies_a_revocation_within_max_staleness(instances):
    one, two = instances
    tokens = {subject: one.mint(subject=subject) for subject in ("a", "b", "c", "d")}
    for subject, token in tokens.items():
        url = two.play_url(token=token)
        assert await two.get_outcome(url) == 302
        started = time()
        await revoke(one, sub=subject)
        await wait_until(lambda url=url: is_refused(two, url))
        assert time() - started < 5, "0.5 s on an idle machine"
    assert await list_revocations(two) == await list_revocations(one)
    assert (await two.metric("playgate_revocations"))[""] == 4
    pulled = (await two.metric("playgate_revocations_pulled_timestamp_seconds"))[""]
    assert time() - pulled < 5


async def is_refused(edge, url):
    return await edge.get_outcome(url) == "token-revoked"


async def test_a_new_instance_applies_revocations_from_its_first_play(
    server, instances, start_edge
):
    token = instances[0].mint(subject="viewer-7")
    await revoke(instances[0], sub="viewer-7")
    new = await start_edge(state={"url": server.url})
    assert await new.get_outcome(new.play_url(token=token)) == "token-revoked"


async def test_instances_restore_revocations_that_the_store_has_lost(server, instances, start_edge):
    """After Redis was emptied, or restarted without a dump."""
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await wait_until(lambda: is_refused(two, two.play_url(token=token)))
    for lose in (server.empty, server.stop):
        await lose()
        if server.process is None:
            await server.start()
        assert await is_refused(one, one.play_url(token=token))
        await wait_until(lambda: has_revocations(server))
        counts = [line["count"] for edge in instances for line in edge.lines("revocations-lost")]
        assert set(counts) == {1}
        async with AsyncExitStack() as stack:
            new = await stack.enter_async_context(
                run_test_edge(build_sandbox_stub(one), state={"url": server.url})
            )
            assert await is_refused(new, new.play_url(token=token))


def build_sandbox_stub(edge):
    """Return a stand-in for the sandbox of an edge, with its origin only."""
    host = edge.edge.apps.services.settings.platform.allowed_hosts[0]
    return type("Origin", (), {"origin": f"http://{host}"})()


async def has_revocations(server):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") > 0


async def test_a_revocation_that_the_store_lost_before_a_pull_is_published_again(server, instances):
    """A failing Redis primary loses the entries that its replica has not received."""
    one, two = instances
    await revoke(one, sub="kept")
    await wait_until(lambda: has_revocation_of(two, "kept"))
    async with server.client() as client:
        before = {entry for entry, _ in await client.xrange("playgate:revocations")}
        assert (await revoke(one, sub="viewer-7")).status == 201
        lost = [
            entry for entry, _ in await client.xrange("playgate:revocations") if entry not in before
        ]
        await client.xdel("playgate:revocations", *lost)
    await wait_until(lambda: has_revocation_of(two, "viewer-7"))


async def has_revocation_of(edge, subject):
    return subject in [entry.get("sub") for entry in await list_revocations(edge)]


async def test_a_revocation_is_dropped_once_every_affected_token_and_session_has_expired(
    sandbox, clock
):
    """After `max_ttl` plus the longest session that may begin in a token's last second."""
    sandbox.now = clock.now
    async with run_test_edge(
        sandbox, clock=clock, tokens={"max_ttl": 600, "leeway": 5}, relay={"session_max": 1000}
    ) as edge:
        assert (await revoke(edge, sub="viewer-7")).json["until"] == NOW + 1601
        assert (await revoke(edge, video="x8demo1", before=NOW - 500)).json["until"] == NOW + 1101
        assert (await revoke(edge, jti="one")).json["until"] == NOW + 1606
        for seconds, count in ((1100, 3), (1, 2), (500, 1), (4, 1), (1, 0)):
            clock.advance(seconds)
            assert len(await list_revocations(edge)) == count
        assert (await edge.metric("playgate_revocations"))[""] == 0


async def test_relay_sessions_do_not_prolong_a_revocation_if_relaying_is_disabled(
    sandbox, clock, monkeypatch
):
    monkeypatch.setattr(
        Settings, "get_seal_secrets", lambda _settings: []
    )  # as outside the sandbox
    both = {"cdn_families": ["ipv4", "ipv6"]}
    async with run_test_edge(sandbox, clock=clock, tokens={"max_ttl": 600}, delivery=both) as edge:
        assert (await revoke(edge, sub="viewer-7")).json["until"] == NOW + 601


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "must name exactly one of jti, sub and video"),
        ({"jti": "a", "sub": "b"}, "must name exactly one of jti, sub and video"),
        ({"jti": "a", "before": 5}, 'must not contain both "before" and "jti"'),
        ({"sub": "a", "before": 5, "undo": True}, 'must not contain both "before" and "undo"'),
        ({"sub": "a", "undo": True}, "No revocation of this sub is in force"),
        ({"video": "x8demo1", "issuer": "a"}, 'must not contain both "issuer" and "video"'),
        ({"sub": "a", "issuer": "two words"}, "issuer must be 1 to 256 visible"),
        ({"sub": ""}, "sub "),
        ({"sub": "two words"}, "sub must be 1 to 256 visible ASCII characters"),
        ({"sub": "a" * 257}, "sub "),
        ({"jti": 7}, "jti "),
        ({"sub": "a", "before": -1}, "before "),
        ({"sub": "a", "before": 10**11}, 'The time "before" is in the future'),
        ({"sub": "a", "before": 5}, "every token issued until the time"),
        ({"subject": "a"}, "subject is not a known name"),
    ],
)
async def test_an_invalid_request_body_is_refused(edge, body, says):
    response = await revoke(edge, **body)
    assert (response.status, response.reason) == (400, "request-invalid")
    assert says in response.json["detail"]
    assert await list_revocations(edge) == []


async def test_an_invalid_video_id_is_refused(edge):
    response = await revoke(edge, video="no id")
    assert (response.status, response.reason) == (400, "request-invalid")
    assert "is not a video ID" in response.json["detail"]


async def test_revoking_and_listing_require_the_operator_key(edge):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert (await revoke(edge, headers, sub="a")).reason == "operator-key"
        listed = await edge.get(f"{edge.operator}/revocations", headers=headers)
        assert listed.reason == "operator-key"
    assert await list_revocations(edge) == []


async def test_a_full_list_refuses_new_revocations_and_keeps_the_old_ones(edge, monkeypatch):
    monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 2)
    for subject in ("a", "b"):
        assert (await revoke(edge, sub=subject)).status == 201
    response = await revoke(edge, sub="c")
    assert response.status == 400
    assert "retire the signing key" in response.json["detail"]
    assert [entry["sub"] for entry in await list_revocations(edge)] == ["a", "b"]


async def test_a_revocation_can_be_undone_on_every_instance(instances):
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await wait_until(lambda: has_revocation_of(two, "viewer-7"))
    response = await revoke(two, sub="viewer-7", undo=True)
    assert (response.status, response.json) == (
        200, {"sub": "viewer-7", "issuer": None, "undone": True}
    )  # fmt: skip
    assert await two.try_play(token=token) == 302
    await wait_until(lambda: can_play(one, token))
    assert await list_revocations(one) == []
    assert two.lines("revocation-undone")[-1]["value"] == "viewer-7"

    await revoke(one, sub="viewer-7")  # possibly in the same second
    await wait_until(lambda: is_refused(two, two.play_url(token=token)))


async def can_play(edge, token):
    return await edge.try_play(token=token) == 302


async def test_a_future_dated_revocation_of_another_writer_expires_and_can_be_undone(
    server, start_edge
):
    """An attacker who writes to Redis must not revoke tokens for ever."""
    far_future = 2**53
    ban = Revocation(kind="sub", value="viewer-7", before=far_future, at=far_future)
    store = RedisStore(server.url, prefix="playgate")
    await store.append("revocations", [ban.to_json()], keep=3600)
    shared = {"url": server.url, "max_staleness": 0.5}
    first = await start_edge(state=shared)
    key = load_settings(SANDBOX_TOML).tokens.keys[0].signing_key
    now = int(time())
    claims = {"video": "*", "ttl": 600, "jti": "a", "subject": "viewer-7"}
    old = mint(key, issued_at=now - 60, **claims)
    await wait_until(lambda: is_refused(first, first.play_url(token=old)))
    (listed,) = await list_revocations(first)
    assert listed["before"] <= time() + 5
    assert listed["until"] <= time() + 5 + 3600 + 21_600 + 6

    assert (await revoke(first, sub="viewer-7", undo=True)).status == 200
    assert await can_play(first, old)
    second = await start_edge(state=shared)  # reads the whole log
    await wait_until(lambda: has_pulled(second))
    assert await can_play(second, old)
    assert await list_revocations(second) == []
    await store.close()


@pytest.mark.parametrize("proof", ["", "0" * 64])
@pytest.mark.parametrize("ahead", [0, 5, 2**40])
async def test_an_undo_without_a_valid_proof_does_not_make_a_revoked_token_valid(
    server, instances, proof, ahead
):
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await wait_until(lambda: has_revocation_of(two, "viewer-7"))
    at = int(time()) + ahead
    undone = Revocation(kind="sub", value="viewer-7", before=at, at=at, is_undo=True, proof=proof)
    store = RedisStore(server.url, prefix="playgate")
    await store.append("revocations", [undone.to_json()], keep=3600)
    await revoke(one, sub="another")
    await wait_until(lambda: has_revocation_of(two, "another"))
    assert [await edge.try_play(token=token) for edge in instances] == ["token-revoked"] * 2
    await server.empty()
    await wait_until(lambda: has_entries(server, 2))
    await store.close()
    assert [await edge.try_play(token=token) for edge in instances] == ["token-revoked"] * 2


async def test_a_replayed_undo_does_not_undo_a_later_revocation(server, instances):
    """Neither alone, nor after a forged revocation that an undo would remove."""
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await revoke(one, sub="viewer-7", undo=True)
    await revoke(one, sub="viewer-7")
    async with server.client() as client:
        entries = [fields["entry"] for _, fields in await client.xrange("playgate:revocations")]
        (undone,) = [entry for entry in entries if json.loads(entry)[5]]
        ahead = Revocation(kind="sub", value="viewer-7", before=2**40, at=2**40)
        for entry in (undone, ahead.to_json(), undone):
            await client.xadd("playgate:revocations", {"entry": entry})
    await revoke(one, sub="another")
    await wait_until(lambda: has_revocation_of(two, "another"))
    for edge in instances:
        await wait_until(lambda edge=edge: is_refused(edge, edge.play_url(token=token)))
        assert await edge.try_play(token=token) == "token-revoked"


class AheadClock(Clock):
    """A clock that is an hour ahead."""

    def now(self) -> float:
        return super().now() + 3600


async def test_an_undo_by_an_instance_whose_clock_is_ahead_does_not_block_a_new_revocation(
    server, sandbox, start_edge
):
    shared = {"state": {"url": server.url, "max_staleness": 0.5}}
    here = await start_edge(**shared)
    async with run_test_edge(sandbox, clock=AheadClock(), **shared) as ahead:
        token = here.mint(subject="viewer-7")
        await revoke(here, sub="viewer-7")
        await wait_until(lambda: has_revocation_of(ahead, "viewer-7"))
        await revoke(ahead, sub="viewer-7", undo=True)
        await wait_until(lambda: can_play(here, token))
        await revoke(here, sub="viewer-7")
        third = await start_edge(**shared)
        await wait_until(lambda: is_refused(third, third.play_url(token=token)))
        assert await here.get_outcome(here.play_url(token=token)) == "token-revoked"


async def has_entries(server, count):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") >= count


async def has_pulled(edge):
    age = (await edge.get(f"{edge.operator}/readyz")).json["revocations_age"]
    return age is not None


async def test_more_revocations_than_the_maximum_do_not_stop_plays(server, start_edge, monkeypatch):
    """The log is read in several pulls; the edge logs that its list is full."""
    monkeypatch.setattr(revocations, "MAX_PAGES", 2)
    monkeypatch.setattr(domain, "MAX_REVOCATIONS", 50)
    store = RedisStore(server.url, prefix="playgate")
    now = int(time())
    logged = [
        Revocation(kind="sub", value=f"v-{n}", before=now, at=now) for n in range(5 * PAGE_SIZE)
    ]
    for start in range(0, len(logged), PAGE_SIZE):
        page = [entry.to_json() for entry in logged[start : start + PAGE_SIZE]]
        await store.append("revocations", page, keep=3600)
    edge = await start_edge(state={"url": server.url, "max_staleness": 0.2})
    await wait_until(lambda: has_pulled(edge))
    assert (await edge.metric("playgate_revocations"))[""] == 50
    assert edge.lines("revocations-full")[0]["count"] == 50
    assert await can_play(edge, edge.mint())
    await store.close()


async def test_malformed_and_expired_entries_in_the_log_are_skipped(server, instances):
    async with server.client() as client:
        huge = f'["sub","x",null,1,{"9" * 400},false,""]'
        for entry in (
            "{}",
            '["iss","x",null,1,2,false,""]',
            "not json",
            "[" * 100_000,
            huge,
            b"\xff\xfe",
        ):
            await client.xadd("playgate:revocations", {"entry": entry})
        await client.xadd("playgate:revocations", {"something": "else"})
    expired = Revocation(kind="sub", value="old", before=1, at=2)
    async with server.client() as client:
        await client.xadd("playgate:revocations", {"entry": expired.to_json()})
    await revoke(instances[0], sub="viewer-7")
    await wait_until(lambda: has_revocation_of(instances[1], "viewer-7"))
    assert len(await list_revocations(instances[1])) == 1


async def test_a_revocation_that_cannot_be_published_is_refused(server, instances):
    one, _ = instances
    token = one.mint(subject="viewer-7")
    await server.stop()
    response = await revoke(one, sub="viewer-7")
    assert (response.status, response.reason) == (503, "state-unavailable")
    assert response.json["detail"].startswith("Nothing was changed")
    assert await one.try_play(token=token) == 302, "an unpublished revocation must not apply"


async def test_an_edge_reads_and_restores_the_maximum_number_of_revocations(server, start_edge):
    """The edge reads and restores them page by page, each page within the timeout."""
    now = int(time())
    logged = [
        Revocation(kind="sub", value=f"viewer-{n}", before=now, at=now) for n in range(100_000)
    ]
    store = RedisStore(server.url, prefix="playgate")
    for start in range(0, len(logged), PAGE_SIZE):
        entries = [entry.to_json() for entry in logged[start : start + PAGE_SIZE]]
        await store.append("revocations", entries, keep=3600)
    edge = await start_edge(state={"url": server.url, "max_staleness": 0.5})
    key = load_settings(SANDBOX_TOML).tokens.keys[0].signing_key
    token = mint(key, video="*", issued_at=now, ttl=600, jti="a", subject="viewer-99999")
    # In force at start, unless a page timed out on a slow machine.
    await wait_until(lambda: is_refused(edge, edge.play_url(token=token)), seconds=60)
    await server.empty()
    await wait_until(lambda: has_all_revocations(server), seconds=60)
    assert (await edge.metric("playgate_revocations"))[""] == 100_000
    await store.close()


async def has_all_revocations(server):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") >= 100_000


async def test_a_temporarily_wrong_clock_does_not_drop_revocations(sandbox, clock):
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock, tokens={"max_ttl": 600}) as edge:
        token = edge.mint(subject="viewer-7")
        await revoke(edge, sub="viewer-7")
        clock.time += 86_400
        assert len(await list_revocations(edge)) == 1
        clock.time -= 86_400
        assert await edge.try_play(token=token) == "token-revoked"


async def test_a_revocation_is_logged(edge):
    await revoke(edge, sub="viewer-7")
    await revoke(edge, video="k1234567")
    lines = [(line["kind"], line["value"]) for line in edge.lines("revoked")]
    assert lines[0] == ("sub", "viewer-7")
    assert lines[1][1].startswith("k-") and "k1234567" not in edge.log.getvalue()


async def test_an_edge_without_revocations_logs_that_and_is_not_ready_under_deny(server, sandbox):
    await server.stop()
    for policy, status in (("allow", 200), ("deny", 503)):
        state = {"url": server.url, "revocations_on_failure": policy, "max_staleness": 0.5}
        async with run_test_edge(sandbox, state=state) as edge:
            await edge.play()
            assert len(edge.lines("revocations-unknown")) == 1
            assert (await edge.get(f"{edge.operator}/readyz")).status == status
            if policy == "deny":
                await server.start()
                await wait_until(lambda edge=edge: is_ready(edge))


async def is_ready(edge):
    return (await edge.get(f"{edge.operator}/readyz")).status == 200
