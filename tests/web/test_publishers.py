"""Publishers that share an edge: each key has its own videos, subjects and token IDs."""

import json
import time

import jwt
import pytest
from relay_stack import find_relay_paths
from support import OPERATOR_KEY, SECRET, build_settings_for, run_test_edge

from proxy.domain.reasons import Refusal

NEWS, SPORT = "https://news.example", "https://sport.example"
SECRETS = {NEWS: "n" * 32, SPORT: "s" * 32}
KEYS = [
    {"kid": "sandbox", "alg": "HS256", "secret": SECRET},
    {"kid": NEWS, "alg": "HS256", "secret": SECRETS[NEWS], "issuer": NEWS, "videos": "x8demo.*"},
    {"kid": SPORT, "alg": "HS256", "secret": SECRETS[SPORT], "issuer": SPORT},
]
KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}


def sign_with_issuer(issuer: str | None, **claims) -> str:
    now = int(time.time())
    payload = {"video": "*", "iat": now, "exp": now + 300, **claims}
    if issuer is not None:
        payload["iss"] = issuer
    secret = SECRET if issuer is None else SECRETS[issuer]
    return jwt.encode(payload, secret, "HS256", {"kid": issuer or "sandbox"})


@pytest.fixture
def start_shared_edge(sandbox):
    return lambda **tables: run_test_edge(
        sandbox, **{**tables, "tokens": {"keys": KEYS, **tables.get("tokens", {})}}
    )


async def test_tokens_of_a_key_play_only_the_videos_of_the_key(start_shared_edge):
    async with start_shared_edge() as edge:
        assert await edge.try_play(token=sign_with_issuer(NEWS)) == 302
        assert await edge.try_play(token=sign_with_issuer(NEWS, video="x8demo1")) == 302
        for token in (sign_with_issuer(NEWS), sign_with_issuer(NEWS, video="x8live1")):
            assert await edge.try_play("x8live1", token) == "token-video"
        assert edge.lines()[-1]["detail"] == (
            "the token's issuer may not sign for this video: its videos pattern does not match"
        )
        assert await edge.try_play("x8live1", sign_with_issuer(SPORT)) == 302
        assert await edge.try_play("x8live1", sign_with_issuer(None)) == 302


async def test_the_videos_pattern_of_a_key_must_match_the_whole_id(start_shared_edge):
    keys = [{**KEYS[0], "videos": "x8demo"}]
    async with start_shared_edge(tokens={"keys": keys}) as edge:
        assert await edge.try_play(token=sign_with_issuer(None)) == "token-video"
        assert edge.lines()[-1]["detail"] == (
            "the token's key may not sign for this video: its videos pattern does not match"
        )
        with pytest.raises(Refusal, match="request-invalid"):
            edge.mint("x8demo1")


async def test_auth_and_stream_urls_apply_the_videos_setting_of_a_key(start_shared_edge):
    auth = {"protected_paths": [r"/vod/(?P<video>[^/]+)/.*"]}
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    async with start_shared_edge(auth=auth, viewer=trusted) as edge:
        forwarded = {"X-Forwarded-For": "127.0.0.9"}
        for video, expected in (("x8demo1", True), ("x8live1", False)):
            token = sign_with_issuer(NEWS)
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


async def test_subjects_of_different_issuers_have_separate_rate_limits(start_shared_edge):
    async with start_shared_edge(limits={"subject": "1/minute"}) as edge:
        assert await edge.try_play(token=sign_with_issuer(NEWS, sub="viewer-7")) == 302
        assert (
            await edge.try_play(token=sign_with_issuer(NEWS, sub="viewer-7", jti="2"))
            == "rate-limited"
        )
        assert await edge.try_play(token=sign_with_issuer(SPORT, sub="viewer-7")) == 302
        assert await edge.try_play(token=sign_with_issuer(None, sub="viewer-7")) == 302


async def test_an_unverified_iss_claim_has_no_effect(start_shared_edge):
    """A token signed with one of the operator's own keys can have any `iss`: it is not verified."""
    async with start_shared_edge(limits={"subject": "1/minute"}) as edge:
        own = {"iss": "https://anything.example", "sub": "viewer-7"}
        assert await edge.try_play(token=sign_with_issuer(None, **own)) == 302
        assert await edge.try_play(token=sign_with_issuer(None, sub="viewer-7")) == "rate-limited"
        assert "issuer" not in edge.lines()[-1]


@pytest.mark.parametrize("name", [{"sub": "viewer-7"}, {"jti": "one"}])
async def test_a_revocation_applies_to_the_tokens_of_one_issuer_only(start_shared_edge, name):
    async with start_shared_edge(delivery={"mode": "relay"}) as edge:
        tokens = {issuer: sign_with_issuer(issuer, **name) for issuer in (None, NEWS, SPORT)}
        sessions = {}
        for issuer, token in tokens.items():
            playlist = (await edge.get(edge.play_url(token=token))).body
            sessions[issuer] = edge.player + find_relay_paths(playlist)[0]
        line = edge.lines()[-1]
        assert (line["issuer"], line.get("subject", "one")) == (SPORT, name.get("sub", "one"))

        for revoked in (NEWS, None):
            body = name if revoked is None else {**name, "issuer": revoked}
            url = f"{edge.operator}/revocations"
            response = await edge.get(url, method="POST", data=json.dumps(body), headers=KEY)
            assert (response.status, response.json["issuer"]) == (201, revoked)
            for issuer, token in tokens.items():
                expected = "token-revoked" if issuer in (revoked, NEWS) else 200
                assert await edge.try_play(token=token) == expected
                session = await edge.get(sessions[issuer])
                assert session.outcome == expected
            assert edge.lines("revoked")[-1]["issuer"] == revoked


async def test_first_use_does_not_bind_a_token_of_another_issuer(start_shared_edge):
    async with start_shared_edge(tokens={"bind_on_first_use": True}) as edge:
        same = {"sub": "viewer-7", "jti": "one"}
        assert await edge.try_play(token=sign_with_issuer(NEWS, **same), source="127.0.0.5") == 302
        assert await edge.try_play(token=sign_with_issuer(SPORT, **same), source="127.0.1.5") == 302
        assert await edge.try_play(token=sign_with_issuer(None, **same), source="127.0.2.5") == 302
        # One issuer cannot sign a token for another: the header names the key of the issuer.
        header, payload, _ = sign_with_issuer(NEWS, jti="two").split(".")
        forged = jwt.api_jws.PyJWS().encode(b"x", SECRETS[SPORT], "HS256").split(".")[2]
        assert await edge.try_play(token=f"{header}.{payload}.{forged}") == "token-signature"


def test_issuers_with_published_keys_can_be_limited_to_videos(sandbox):
    published = {"issuer": NEWS, "jwks_url": f"{sandbox.origin}/jwks", "videos": "x8demo.*"}
    tokens = build_settings_for(sandbox, tokens={"issuers": [published]}).tokens
    assert [*tokens.issuer_videos] == [NEWS]
    assert tokens.issuer_videos[NEWS].fullmatch("x8demo1")
