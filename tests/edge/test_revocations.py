"""What was taken back is refused by every instance, soon, and for as long as it matters."""

import json
import re
from contextlib import AsyncExitStack
from time import time

import pytest
from support import NOW, OPERATOR_KEY, SANDBOX_TOML, an_edge, eventually, mint

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


async def in_force(edge):
    answer = await edge.get(f"{edge.operator}/revocations", headers=KEY)
    assert answer.status == 200
    return answer.json["revocations"]


async def outcome(edge, url, **options):
    answer = await edge.get(url, **options)
    return answer.reason or answer.status


@pytest.fixture
async def instances(server, start_edge):
    """Return two edges that share a state and hear of each other twice a second."""
    shared = {"state": {"url": server.url, "max_staleness": 0.5}}
    return [await start_edge(**shared), await start_edge(**shared)]


async def test_a_token_can_be_taken_back_by_its_id(edge):
    minted = await edge.get(
        f"{edge.operator}/tokens", method="POST", data='{"video": "x8demo1"}', headers=KEY
    )
    kept, taken = edge.mint(), minted.json["token"]
    answer = await revoke(edge, jti=minted.json["jti"])

    assert answer.status == 201
    assert answer.json == {
        "jti": minted.json["jti"], "issuer": None, "before": None, "until": pytest.approx(time() + 25_206, abs=5)
    }  # fmt: skip
    assert await outcome(edge, edge.play_url(token=taken)) == "token-revoked"
    assert edge.lines()[-1]["detail"] == "by jti"
    assert await outcome(edge, edge.play_url(token=kept)) == 302
    assert await in_force(edge) == [answer.json]


async def test_a_viewer_and_a_video_can_be_taken_back_up_to_a_moment(sandbox, clock):
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock) as edge:
        of_viewer = edge.play_url(token=edge.mint(subject="viewer-7"))
        of_another = edge.play_url(token=edge.mint(subject="viewer-8"))
        of_all = edge.mint("*")
        assert (await revoke(edge, sub="viewer-7")).json["before"] == NOW
        assert await outcome(edge, of_viewer) == "token-revoked"
        assert await outcome(edge, of_another) == 302

        assert (await revoke(edge, video="x8demo1", before=NOW - 1)).status == 201
        assert await outcome(edge, of_another) == 302
        await revoke(edge, video="x8demo1")
        assert await outcome(edge, of_another) == "token-revoked"
        assert await outcome(edge, edge.play_url(token=of_all)) == "token-revoked"
        assert await outcome(edge, edge.play_url("x8live1", token=of_all)) == 302

        told = (await revoke(edge, sub="viewer-7", before=NOW - 60)).json
        assert told["before"] == NOW, "what was revoked before stays revoked"
        clock.advance(1)  # what is issued from now on is not meant
        assert await outcome(edge, edge.play_url(token=edge.mint(subject="viewer-7"))) == 302


async def test_it_reaches_relayed_sessions_and_nginx(sandbox):
    async with an_edge(
        sandbox, delivery={"mode": "relay"}, viewer={"trusted_proxies": ["127.0.0.1"]}
    ) as edge:
        viewer = {"X-Forwarded-For": "127.0.0.9"}
        token = edge.mint(subject="viewer-7")
        first = await edge.get(edge.play_url(token=token), headers=viewer)
        playlist = re.findall(r"/relay/playlist/[^\s\"]+", first.body.decode())[0]
        media = await edge.get(edge.player + playlist, headers=viewer)
        segment = re.findall(r"/relay/bytes/[^\s\"]+", media.body.decode())[0]
        asked = {
            **viewer, "X-Original-URI": segment, "X-Original-Path": segment,
            "X-Original-Method": "GET",
        }  # fmt: skip
        paths = [edge.player + playlist, edge.player + segment, f"{edge.operator}/auth"]
        for path in paths:
            assert await outcome(edge, path, headers=asked) in {200, 204}
        await revoke(edge, sub="viewer-7")
        for path in paths:
            answer = await edge.get(path, headers=asked)
            assert (answer.status, answer.reason) == (403, "token-revoked")


async def test_every_instance_hears_of_it_within_the_staleness(instances):
    one, two = instances
    tokens = {subject: one.mint(subject=subject) for subject in ("a", "b", "c", "d")}
    for subject, token in tokens.items():
        url = two.play_url(token=token)
        assert await outcome(two, url) == 302
        started = time()
        await revoke(one, sub=subject)
        await eventually(lambda url=url: is_refused(two, url))
        assert time() - started < 5, "0.5 s on a machine with time"
    assert await in_force(two) == await in_force(one)
    assert (await two.metric("playgate_revocations"))[""] == 4
    pulled = (await two.metric("playgate_revocations_pulled_timestamp_seconds"))[""]
    assert time() - pulled < 5


async def is_refused(edge, url):
    return await outcome(edge, url) == "token-revoked"


async def test_an_instance_that_starts_knows_it_with_its_first_play(server, instances, start_edge):
    token = instances[0].mint(subject="viewer-7")
    await revoke(instances[0], sub="viewer-7")
    new = await start_edge(state={"url": server.url})
    assert await outcome(new, new.play_url(token=token)) == "token-revoked"


async def test_what_a_store_has_lost_is_put_back(server, instances, start_edge):
    """Emptied, or restarted without a dump: the instances remember for it."""
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await eventually(lambda: is_refused(two, two.play_url(token=token)))
    for lose in (server.empty, server.stop):
        await lose()
        if server.process is None:
            await server.start()
        assert await is_refused(one, one.play_url(token=token))
        await eventually(lambda: is_there_again(server))
        told = [line["count"] for edge in instances for line in edge.lines("revocations-lost")]
        assert set(told) == {1}
        async with AsyncExitStack() as stack:
            new = await stack.enter_async_context(
                an_edge(one_sandbox(one), state={"url": server.url})
            )
            assert await is_refused(new, new.play_url(token=token))


def one_sandbox(edge):
    """Return what stands for the edge's sandbox: its origin is all that counts here."""
    host = edge.edge.apps.services.settings.platform.allowed_hosts[0]
    return type("Origin", (), {"origin": f"http://{host}"})()


async def is_there_again(server):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") > 0


async def test_one_that_the_store_lost_before_anybody_read_it_is_told_again(server, instances):
    """A primary that fails loses what its replica had not heard of yet."""
    one, two = instances
    await revoke(one, sub="kept")
    await eventually(lambda: knows(two, "kept"))
    async with server.client() as client:
        before = {entry for entry, _ in await client.xrange("playgate:revocations")}
        assert (await revoke(one, sub="viewer-7")).status == 201
        lost = [
            entry for entry, _ in await client.xrange("playgate:revocations") if entry not in before
        ]
        await client.xdel("playgate:revocations", *lost)
    await eventually(lambda: knows(two, "viewer-7"))


async def knows(edge, subject):
    return subject in [it.get("sub") for it in await in_force(edge)]


async def test_it_is_forgotten_when_nothing_it_concerns_can_be_valid(sandbox, clock):
    """max_ttl, and after it the longest session that the token's last second could begin."""
    sandbox.now = clock.now
    async with an_edge(
        sandbox, clock=clock, tokens={"max_ttl": 600, "leeway": 5}, relay={"session_max": 1000}
    ) as edge:
        assert (await revoke(edge, sub="viewer-7")).json["until"] == NOW + 1601
        assert (await revoke(edge, video="x8demo1", before=NOW - 500)).json["until"] == NOW + 1101
        assert (await revoke(edge, jti="one")).json["until"] == NOW + 1606
        for seconds, left in ((1100, 3), (1, 2), (500, 1), (4, 1), (1, 0)):
            clock.advance(seconds)
            assert len(await in_force(edge)) == left
        assert (await edge.metric("playgate_revocations"))[""] == 0


async def test_without_a_relay_sessions_do_not_count(sandbox, clock, monkeypatch):
    monkeypatch.setattr(
        Settings, "get_seal_secrets", lambda _settings: []
    )  # as outside the sandbox
    both = {"cdn_families": ["ipv4", "ipv6"]}
    async with an_edge(sandbox, clock=clock, tokens={"max_ttl": 600}, delivery=both) as edge:
        assert (await revoke(edge, sub="viewer-7")).json["until"] == NOW + 601


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "must name exactly one of jti, sub and video"),
        ({"jti": "a", "sub": "b"}, "must name exactly one of jti, sub and video"),
        ({"jti": "a", "before": 5}, "must not have before beside jti"),
        ({"sub": "a", "before": 5, "undo": True}, "must not have before beside undo"),
        ({"sub": "a", "undo": True}, "No revocation of this sub is in force"),
        ({"video": "x8demo1", "issuer": "a"}, "must not have issuer beside video"),
        ({"sub": "a", "issuer": "two words"}, "issuer must be 1 to 256 visible"),
        ({"sub": ""}, "sub "),
        ({"sub": "two words"}, "sub must be 1 to 256 visible ASCII characters"),
        ({"sub": "a" * 257}, "sub "),
        ({"jti": 7}, "jti "),
        ({"sub": "a", "before": -1}, "before "),
        ({"sub": "a", "before": 10**11}, "before is in the future"),
        ({"sub": "a", "before": 5}, "every token meant has expired"),
        ({"subject": "a"}, "subject is not a known name"),
    ],
)
async def test_a_body_that_cannot_be_meant_is_refused(edge, body, says):
    answer = await revoke(edge, **body)
    assert (answer.status, answer.reason) == (400, "request-invalid")
    assert says in answer.json["detail"]
    assert await in_force(edge) == []


async def test_what_is_no_video_id_is_said_so(edge):
    answer = await revoke(edge, video="no id")
    assert (answer.status, answer.reason) == (400, "request-invalid")
    assert "is not a video ID" in answer.json["detail"]


async def test_only_the_operator_takes_back_and_sees_the_list(edge):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert (await revoke(edge, headers, sub="a")).reason == "operator-key"
        listed = await edge.get(f"{edge.operator}/revocations", headers=headers)
        assert listed.reason == "operator-key"
    assert await in_force(edge) == []


async def test_there_is_a_bound_and_it_forgets_nothing(edge, monkeypatch):
    monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 2)
    for subject in ("a", "b"):
        assert (await revoke(edge, sub=subject)).status == 201
    answer = await revoke(edge, sub="c")
    assert answer.status == 400
    assert "Retire the key instead" in answer.json["detail"]
    assert [it["sub"] for it in await in_force(edge)] == ["a", "b"]


async def test_a_revocation_can_be_undone_everywhere(instances):
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await eventually(lambda: knows(two, "viewer-7"))
    answer = await revoke(two, sub="viewer-7", undo=True)
    assert (answer.status, answer.json) == (
        200, {"sub": "viewer-7", "issuer": None, "undone": True}
    )  # fmt: skip
    assert await outcome(two, two.play_url(token=token)) == 302
    await eventually(lambda: plays(one, token))
    assert await in_force(one) == []
    assert two.lines("revocation-undone")[-1]["value"] == "viewer-7"

    await revoke(one, sub="viewer-7")  # in the same second, perhaps
    await eventually(lambda: is_refused(two, two.play_url(token=token)))


async def plays(edge, token):
    return await outcome(edge, edge.play_url(token=token)) == 302


async def test_what_somebody_else_dates_ahead_ends_and_can_be_undone(server, start_edge):
    """Who writes to Redis must not revoke for ever."""
    far = 2**53
    ban = Revocation(kind="sub", value="viewer-7", before=far, at=far)
    store = RedisStore(server.url, prefix="playgate")
    await store.append("revocations", [ban.to_json()], keep=3600)
    shared = {"url": server.url, "max_staleness": 0.5}
    first = await start_edge(state=shared)
    key = load_settings(SANDBOX_TOML).tokens.keys[0].signing_key
    now = int(time())
    claims = {"video": "*", "ttl": 600, "jti": "a", "subject": "viewer-7"}
    old = mint(key, issued_at=now - 60, **claims)
    await eventually(lambda: is_refused(first, first.play_url(token=old)))
    (told,) = await in_force(first)
    assert told["before"] <= time() + 5
    assert told["until"] <= time() + 5 + 3600 + 21_600 + 6

    assert (await revoke(first, sub="viewer-7", undo=True)).status == 200
    assert await plays(first, old)
    second = await start_edge(state=shared)  # reads all of it again
    await eventually(lambda: is_informed(second))
    assert await plays(second, old)
    assert await in_force(second) == []
    await store.close()


@pytest.mark.parametrize("proof", ["", "0" * 64])
@pytest.mark.parametrize("ahead", [0, 5, 2**40])
async def test_who_writes_to_redis_cannot_make_a_revoked_token_good(
    server, instances, proof, ahead
):
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await eventually(lambda: knows(two, "viewer-7"))
    at = int(time()) + ahead
    undone = Revocation(kind="sub", value="viewer-7", before=at, at=at, is_undone=True, proof=proof)
    store = RedisStore(server.url, prefix="playgate")
    await store.append("revocations", [undone.to_json()], keep=3600)
    await revoke(one, sub="another")
    await eventually(lambda: knows(two, "another"))
    assert [await outcome(it, it.play_url(token=token)) for it in instances] == [
        "token-revoked"
    ] * 2
    await server.empty()
    await eventually(lambda: has_entries(server, 2))
    await store.close()
    assert [await outcome(it, it.play_url(token=token)) for it in instances] == [
        "token-revoked"
    ] * 2


async def test_an_old_undoing_that_is_replayed_undoes_nothing_later(server, instances):
    """Neither alone, nor behind a forged revocation that would give way to it."""
    one, two = instances
    token = one.mint(subject="viewer-7")
    await revoke(one, sub="viewer-7")
    await revoke(one, sub="viewer-7", undo=True)
    await revoke(one, sub="viewer-7")
    async with server.client() as client:
        entries = [it["entry"] for _, it in await client.xrange("playgate:revocations")]
        (undone,) = [it for it in entries if json.loads(it)[5]]
        ahead = Revocation(kind="sub", value="viewer-7", before=2**40, at=2**40)
        for entry in (undone, ahead.to_json(), undone):
            await client.xadd("playgate:revocations", {"entry": entry})
    await revoke(one, sub="another")
    await eventually(lambda: knows(two, "another"))
    for it in instances:
        await eventually(lambda it=it: is_refused(it, it.play_url(token=token)))
        assert await outcome(it, it.play_url(token=token)) == "token-revoked"


class AheadClock(Clock):
    """A clock that is set an hour ahead."""

    def now(self) -> float:
        return super().now() + 3600


async def test_what_an_instance_ahead_of_its_time_undid_can_be_revoked_again(
    server, sandbox, start_edge
):
    shared = {"state": {"url": server.url, "max_staleness": 0.5}}
    here = await start_edge(**shared)
    async with an_edge(sandbox, clock=AheadClock(), **shared) as ahead:
        token = here.mint(subject="viewer-7")
        await revoke(here, sub="viewer-7")
        await eventually(lambda: knows(ahead, "viewer-7"))
        await revoke(ahead, sub="viewer-7", undo=True)
        await eventually(lambda: plays(here, token))
        await revoke(here, sub="viewer-7")
        third = await start_edge(**shared)
        await eventually(lambda: is_refused(third, third.play_url(token=token)))
        assert await outcome(here, here.play_url(token=token)) == "token-revoked"


async def has_entries(server, count):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") >= count


async def is_informed(edge):
    age = (await edge.get(f"{edge.operator}/readyz")).json["revocations_age"]
    return age is not None


async def test_more_entries_than_there_may_be_stop_nothing(server, start_edge, monkeypatch):
    """They are read in several pulls; the list takes as many as it may, and says so."""
    monkeypatch.setattr(revocations, "MAX_PAGES", 2)
    monkeypatch.setattr(domain, "MAX_REVOCATIONS", 50)
    store = RedisStore(server.url, prefix="playgate")
    now = int(time())
    told = [
        Revocation(kind="sub", value=f"v-{n}", before=now, at=now) for n in range(5 * PAGE_SIZE)
    ]
    for start in range(0, len(told), PAGE_SIZE):
        page = [it.to_json() for it in told[start : start + PAGE_SIZE]]
        await store.append("revocations", page, keep=3600)
    edge = await start_edge(state={"url": server.url, "max_staleness": 0.2})
    await eventually(lambda: is_informed(edge))
    assert (await edge.metric("playgate_revocations"))[""] == 50
    assert edge.lines("revocations-full")[0]["count"] == 50
    assert await plays(edge, edge.mint())
    await store.close()


async def test_what_another_version_wrote_is_passed_over(server, instances):
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
    lapsed = Revocation(kind="sub", value="old", before=1, at=2)
    async with server.client() as client:
        await client.xadd("playgate:revocations", {"entry": lapsed.to_json()})
    await revoke(instances[0], sub="viewer-7")
    await eventually(lambda: knows(instances[1], "viewer-7"))
    assert len(await in_force(instances[1])) == 1


async def test_a_revocation_that_nobody_could_be_told_of_is_refused(server, instances):
    one, _ = instances
    token = one.mint(subject="viewer-7")
    await server.stop()
    answer = await revoke(one, sub="viewer-7")
    assert (answer.status, answer.reason) == (503, "state-unavailable")
    assert answer.json["detail"].startswith("Nothing was changed")
    assert await outcome(one, one.play_url(token=token)) == 302, "all of them, or none"


async def test_an_edge_learns_as_many_as_there_may_be(server, start_edge):
    """A page at a time, each within its time; and puts all of them back."""
    now = int(time())
    told = [Revocation(kind="sub", value=f"viewer-{n}", before=now, at=now) for n in range(100_000)]
    store = RedisStore(server.url, prefix="playgate")
    for start in range(0, len(told), PAGE_SIZE):
        entries = [it.to_json() for it in told[start : start + PAGE_SIZE]]
        await store.append("revocations", entries, keep=3600)
    edge = await start_edge(state={"url": server.url, "max_staleness": 0.5})
    key = load_settings(SANDBOX_TOML).tokens.keys[0].signing_key
    token = mint(key, video="*", issued_at=now, ttl=600, jti="a", subject="viewer-99999")
    # Known at the start, unless a page took longer than its time on a slow machine.
    await eventually(lambda: is_refused(edge, edge.play_url(token=token)), seconds=60)
    await server.empty()
    await eventually(lambda: all_are_back(server), seconds=60)
    assert (await edge.metric("playgate_revocations"))[""] == 100_000
    await store.close()


async def all_are_back(server):
    async with server.client() as client:
        return await client.xlen("playgate:revocations") >= 100_000


async def test_a_clock_that_is_set_wrong_and_right_again_forgets_nothing(sandbox, clock):
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock, tokens={"max_ttl": 600}) as edge:
        token = edge.mint(subject="viewer-7")
        await revoke(edge, sub="viewer-7")
        clock.time += 86_400
        assert len(await in_force(edge)) == 1
        clock.time -= 86_400
        assert await outcome(edge, edge.play_url(token=token)) == "token-revoked"


async def test_who_took_back_what_is_in_the_log(edge):
    await revoke(edge, sub="viewer-7")
    await revoke(edge, video="k1234567")
    lines = [(it["kind"], it["value"]) for it in edge.lines("revoked")]
    assert lines[0] == ("sub", "viewer-7")
    assert lines[1][1].startswith("k-") and "k1234567" not in edge.log.getvalue()


async def test_an_edge_that_never_heard_of_any_says_so_and_is_not_ready_where_that_counts(
    server, sandbox
):
    await server.stop()
    for policy, status in (("allow", 200), ("deny", 503)):
        state = {"url": server.url, "revocations_on_failure": policy, "max_staleness": 0.5}
        async with an_edge(sandbox, state=state) as edge:
            await edge.play()
            assert len(edge.lines("revocations-unknown")) == 1
            assert (await edge.get(f"{edge.operator}/readyz")).status == status
            if policy == "deny":
                await server.start()
                await eventually(lambda edge=edge: is_ready(edge))


async def is_ready(edge):
    return (await edge.get(f"{edge.operator}/readyz")).status == 200
