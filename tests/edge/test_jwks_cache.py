"""The keys of other issuers are cached, refreshed, and kept while a refresh fails."""

import asyncio
import json
from contextlib import asynccontextmanager

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from support import StillClock, run_test_edge, serve_app, wait_until

from proxy.edge.jwks_cache import (
    MAX_KEY_AGE_SECONDS,
    MIN_FETCH_INTERVAL_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
)

ISSUER = "https://login.example.com"


class Idp:
    """An issuer that signs tokens and publishes keys; a test sets its response."""

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.keys = {"one": generate_private_key(SECP256R1())}
        self.calls = 0
        self.status = 200
        self.body: str | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def respond(self, _request: web.Request) -> web.Response:
        self.calls += 1
        await self.go.wait()
        return web.Response(status=self.status, text=self.body or self.export_keys())

    def export_keys(self) -> str:
        export = jwt.algorithms.ECAlgorithm.to_jwk
        keys = [
            {**export(key.public_key(), as_dict=True), "kid": kid} for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": [{"kty": "RSA", "use": "enc"}, *keys]})

    def token(self, kid: str = "one", key=None, issuer: str = ISSUER) -> str:
        now = int(self.clock.now())
        claims = {"video": "x8demo1", "iat": now, "exp": now + 300, "iss": issuer}
        return jwt.encode(claims, key or self.keys[kid], algorithm="ES256", headers={"kid": kid})


@pytest.fixture
async def idp(clock) -> Idp:
    return Idp(clock)


@asynccontextmanager
async def run_edge_with_issuer(sandbox, idp, clock, **limits):
    sandbox.now = clock.now
    app = web.Application()
    app.router.add_get("/jwks.json", idp.respond)
    async with serve_app(app) as origin:
        issuers = [{"issuer": ISSUER, "jwks_url": f"{origin}/jwks.json", **limits}]
        async with run_test_edge(sandbox, clock=clock, tokens={"issuers": issuers}) as edge:
            yield edge


async def read_status(edge):
    return (await edge.get(f"{edge.operator}/readyz")).json["issuers"][ISSUER]


async def test_an_issuer_opens_only_the_videos_it_may_sign_for(sandbox, idp, clock):
    async with run_edge_with_issuer(sandbox, idp, clock, videos="x8live.*") as edge:
        assert await edge.try_play(token=idp.token()) == "token-video"
        assert await edge.try_play(token=edge.mint()) == 302
    async with run_edge_with_issuer(sandbox, idp, clock, videos="x8demo.*") as edge:
        assert await edge.try_play(token=idp.token()) == 302


async def test_tokens_of_an_issuer_and_of_the_edge_are_both_accepted(sandbox, idp, clock):
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        assert await edge.try_play(token=edge.mint()) == 302
        assert (
            await edge.try_play(token=idp.token(issuer="https://other.example"))
            == "token-key-unknown"
        )
        forged = idp.token(key=generate_private_key(SECP256R1()))
        assert await edge.try_play(token=forged) == "token-signature"
        assert (await read_status(edge))["keys"] == 1
        fetched = await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds")
        assert fetched == {f'issuer="{ISSUER}"': clock.now()}
    assert idp.calls == 1


async def test_plays_before_the_first_keys_share_one_fetch(sandbox, idp, clock):
    idp.go.clear()
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        plays = [asyncio.create_task(edge.try_play(token=idp.token())) for _ in range(20)]
        await wait_until(lambda: idp.calls == 1)
        await asyncio.sleep(0.1)
        idp.go.set()
        assert await asyncio.gather(*plays) == [302] * 20
    assert idp.calls == 1


async def test_a_token_with_a_new_key_triggers_a_fetch_at_once(sandbox, idp, clock):
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        idp.keys = {"two": generate_private_key(SECP256R1())}
        clock.advance(MIN_FETCH_INTERVAL_SECONDS)
        assert await edge.try_play(token=idp.token("two")) == 302
        assert idp.calls == 2


async def test_tokens_with_unknown_keys_trigger_few_fetches(sandbox, idp, clock):
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        clock.advance(MIN_FETCH_INTERVAL_SECONDS)
        stranger = generate_private_key(SECP256R1())
        plays = [edge.try_play(token=idp.token(f"made-up-{n}", stranger)) for n in range(30)]
        assert set(await asyncio.gather(*plays)) == {"token-key-unknown"}
        for n in range(30):
            assert (
                await edge.try_play(token=idp.token(f"again-{n}", stranger)) == "token-key-unknown"
            )
        assert idp.calls == 2
        clock.advance(MIN_FETCH_INTERVAL_SECONDS)
        assert await edge.try_play(token=idp.token("made-up-1", stranger)) == "token-key-unknown"
        assert idp.calls == 3


async def test_a_key_that_its_issuer_removes_is_refused_after_the_next_fetch(sandbox, idp, clock):
    """Even for a token whose verified claims are cached."""
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        clock.advance(REFRESH_SECONDS - 10)
        token = idp.token()
        assert await edge.try_play(token=token) == 302
        idp.keys = {"two": generate_private_key(SECP256R1())}
        clock.advance(10)
        await wait_until(lambda: has_only_two(edge, idp))
        assert idp.calls == 2
        assert await edge.try_play(token=token) == "token-key-unknown"


async def has_only_two(edge, idp):
    return await edge.try_play(token=idp.token("two")) == 302


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, None, "jwks: HTTP 500"),
        (404, "nothing", "jwks: HTTP 404"),
        (302, "", "jwks: HTTP 302"),
        (200, "<html>", "it is not a JWK Set"),
        (200, '{"keys": 1}', "it is not a JWK Set"),
        (200, "x" * 300_000, "the response is larger than"),
    ],
)
async def test_keys_stay_valid_while_their_issuer_fails(sandbox, idp, clock, *, status, body, says):
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        idp.status, idp.body = status, body
        clock.advance(REFRESH_SECONDS)
        await wait_until(lambda: has_error(edge))
        assert says in (await read_status(edge))["error"]
        assert await edge.try_play(token=idp.token()) == 302
        assert [line["issuer"] for line in edge.lines("issuer-failing")] == [ISSUER]
        assert (await edge.get(f"{edge.operator}/readyz")).status == 200

        idp.status, idp.body = 200, None
        clock.advance(RETRY_SECONDS)
        await wait_until(lambda: has_no_error(edge))
        assert len(edge.lines("issuer-recovered")) == 1


async def has_error(edge):
    return (await read_status(edge))["error"] is not None


async def has_no_error(edge):
    return (await read_status(edge))["error"] is None


async def test_keys_of_an_issuer_that_fails_for_a_day_are_dropped(sandbox, idp, clock):
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == 302
        idp.status = 503
        clock.advance(MAX_KEY_AGE_SECONDS - 1)
        await wait_until(lambda: has_error(edge))
        assert await edge.try_play(token=idp.token()) == 302
        clock.advance(RETRY_SECONDS)
        await wait_until(lambda: has_no_keys(edge))
        assert await edge.try_play(token=idp.token()) == "token-key-unknown"


async def has_no_keys(edge):
    return (await read_status(edge))["keys"] == 0


async def test_the_keys_of_an_issuer_that_is_down_at_start_are_fetched_later(sandbox, idp, clock):
    idp.status = 503
    async with run_edge_with_issuer(sandbox, idp, clock) as edge:
        assert await edge.try_play(token=idp.token()) == "token-key-unknown"
        assert await edge.try_play(token=edge.mint()) == 302
        assert (await read_status(edge))["age"] is None
        idp.status = 200
        clock.advance(RETRY_SECONDS)
        await wait_until(lambda: has_no_error(edge))
        assert await edge.try_play(token=idp.token()) == 302
