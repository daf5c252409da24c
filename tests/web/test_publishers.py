"""Publishers that share an edge: a key opens its own videos, and names mean its own viewers."""

import json
import re
import time

import jwt
import pytest
from support import OPERATOR_KEY, SECRET, an_edge, settings_for

from proxy.domain.reasons import Refusal

NEWS, SPORT = "https://news.example", "https://sport.example"
SECRETS = {NEWS: "n" * 32, SPORT: "s" * 32}
KEYS = [
    {"kid": "sandbox", "alg": "HS256", "secret": SECRET},
    {"kid": NEWS, "alg": "HS256", "secret": SECRETS[NEWS], "issuer": NEWS, "videos": "x8demo.*"},
    {"kid": SPORT, "alg": "HS256", "secret": SECRETS[SPORT], "issuer": SPORT},
]
KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}


def signed(issuer: str | None, **claims) -> str:
    now = int(time.time())
    payload = {"video": "*", "iat": now, "exp": now + 300, **claims}
    if issuer is not None:
        payload["iss"] = issuer
    secret = SECRET if issuer is None else SECRETS[issuer]
    return jwt.encode(payload, secret, "HS256", {"kid": issuer or "sandbox"})


@pytest.fixture
def shared(sandbox):
    return lambda **tables: an_edge(
        sandbox, **{**tables, "tokens": {"keys": KEYS, **tables.get("tokens", {})}}
    )


async def outcome(edge, token, video="x8demo1", **options):
    answer = await edge.get(edge.play_url(video, token), **options)
    return answer.reason or answer.status


async def test_a_key_opens_only_the_videos_it_may_sign_for(shared):
    async with shared() as edge:
        assert await outcome(edge, signed(NEWS)) == 302
        assert await outcome(edge, signed(NEWS, video="x8demo1")) == 302
        for token in (signed(NEWS), signed(NEWS, video="x8live1")):
            assert await outcome(edge, token, "x8live1") == "token-video"
        assert edge.lines()[-1]["detail"] == (
            "the video does not match the videos setting of the token's issuer"
        )
        assert await outcome(edge, signed(SPORT), "x8live1") == 302
        assert await outcome(edge, signed(None), "x8live1") == 302


async def test_a_pattern_means_the_whole_id(shared):
    keys = [{**KEYS[0], "videos": "x8demo"}]
    async with shared(tokens={"keys": keys}) as edge:
        assert await outcome(edge, signed(None)) == "token-video"
        assert edge.lines()[-1]["detail"] == (
            "the video does not match the videos setting of the token's key"
        )
        with pytest.raises(Refusal, match="request-invalid"):
            edge.mint("x8demo1")


async def test_the_other_routes_know_the_limit_too(shared):
    auth = {"protected_paths": [r"/vod/(?P<video>[^/]+)/.*"]}
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    async with shared(auth=auth, viewer=trusted) as edge:
        forwarded = {"X-Forwarded-For": "127.0.0.9"}
        for video, expected in (("x8demo1", True), ("x8live1", False)):
            token = signed(NEWS)
            path = f"/vod/{video}/1.ts"
            headers = {
                **forwarded,
                "X-Original-URI": f"{path}?token={token}",
                "X-Original-Path": path,
                "X-Original-Method": "GET",
            }
            allowed = await edge.get(f"{edge.operator}/auth", headers=headers)
            assert (allowed.status == 204) is expected
            url = f"{edge.player}/stream-urls?video_id={video}&formats=stream_hls_url&token={token}"
            assert ((await edge.get(url, headers=forwarded)).status == 200) is expected
            assert allowed.headers.get("X-Playgate-Issuer") == (NEWS if expected else None)


async def test_names_of_one_issuer_use_up_no_limit_of_another(shared):
    async with shared(limits={"subject": "1/minute"}) as edge:
        assert await outcome(edge, signed(NEWS, sub="viewer-7")) == 302
        assert await outcome(edge, signed(NEWS, sub="viewer-7", jti="2")) == "rate-limited"
        assert await outcome(edge, signed(SPORT, sub="viewer-7")) == 302
        assert await outcome(edge, signed(None, sub="viewer-7")) == 302


async def test_an_iss_that_nobody_vouches_for_scopes_nothing(shared):
    """A token signed with a key of the operator's own may state any `iss`."""
    async with shared(limits={"subject": "1/minute"}) as edge:
        own = {"iss": "https://anything.example", "sub": "viewer-7"}
        assert await outcome(edge, signed(None, **own)) == 302
        assert await outcome(edge, signed(None, sub="viewer-7")) == "rate-limited"
        assert "issuer" not in edge.lines()[-1]


@pytest.mark.parametrize("name", [{"sub": "viewer-7"}, {"jti": "one"}])
async def test_a_revocation_is_for_the_names_of_one_issuer(shared, name):
    async with shared(delivery={"mode": "relay"}) as edge:
        tokens = {issuer: signed(issuer, **name) for issuer in (None, NEWS, SPORT)}
        sessions = {}
        for issuer, token in tokens.items():
            playlist = (await edge.get(edge.play_url(token=token))).body.decode()
            sessions[issuer] = edge.player + re.findall(r"/relay/playlist/[^\s\"]+", playlist)[0]
        line = edge.lines()[-1]
        assert (line["issuer"], line.get("subject", "one")) == (SPORT, name.get("sub", "one"))

        for revoked in (NEWS, None):
            body = name if revoked is None else {**name, "issuer": revoked}
            url = f"{edge.operator}/revocations"
            made = await edge.get(url, method="POST", data=json.dumps(body), headers=KEY)
            assert (made.status, made.json["issuer"]) == (201, revoked)
            for issuer, token in tokens.items():
                expected = "token-revoked" if issuer in (revoked, NEWS) else 200
                assert await outcome(edge, token) == expected
                session = await edge.get(sessions[issuer])
                assert (session.reason or session.status) == expected
            assert edge.lines("revoked")[-1]["issuer"] == revoked


async def test_a_first_use_binds_no_token_of_another_issuer(shared):
    async with shared(tokens={"bind_on_first_use": True}) as edge:
        same = {"sub": "viewer-7", "jti": "one"}
        assert await outcome(edge, signed(NEWS, **same), source="127.0.0.5") == 302
        assert await outcome(edge, signed(SPORT, **same), source="127.0.1.5") == 302
        assert await outcome(edge, signed(None, **same), source="127.0.2.5") == 302
        # And nobody makes another's token: what was signed names its issuer.
        theirs = signed(NEWS, jti="two")
        header, payload, _ = theirs.split(".")
        forged = jwt.api_jws.PyJWS().encode(b"x", SECRETS[SPORT], "HS256").split(".")[2]
        assert await outcome(edge, f"{header}.{payload}.{forged}") == "token-signature"


def test_issuers_that_publish_their_keys_may_be_limited_too(sandbox):
    published = {"issuer": NEWS, "jwks_url": f"{sandbox.origin}/jwks", "videos": "x8demo.*"}
    tokens = settings_for(sandbox, tokens={"issuers": [published]}).tokens
    assert [*tokens.issuer_videos] == [NEWS]
    assert tokens.issuer_videos[NEWS].fullmatch("x8demo1")
