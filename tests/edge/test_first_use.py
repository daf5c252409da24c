"""A token is bound to the network that first uses it, exactly once across all instances."""

import asyncio
from base64 import urlsafe_b64decode

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from support import NOW, b64, build_play_request, build_state

from proxy.adapters.state.store import MemoryStore
from proxy.domain.client_ip import parse_address, parse_network
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import read_claims
from proxy.edge.admission import MAX_CACHED_BINDINGS, FirstUse

ON = {"tokens": {"bind_on_first_use": True}}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CLAIMS = read_claims({"video": "x8demo1", "iat": NOW, "exp": NOW + 300})
HERE, NEIGHBOUR, ELSEWHERE = "127.0.0.5", "127.0.0.77", "127.0.1.5"


@pytest.fixture
async def instances(server, start_edge):
    """Return two edges that share a state, with `tokens.bind_on_first_use`."""
    shared = {**ON, "state": {"url": server.url}}
    edges = [await start_edge(**shared), await start_edge(**shared)]
    # Some tests count commands of Redis; edges that start send some for their access token.
    for edge in edges:
        assert await edge.try_play(token=edge.mint(network=parse_network("127.0.0.0/8"))) == 302
    return edges


async def test_the_first_network_to_use_a_token_keeps_it_on_every_instance(instances):
    one, two = instances
    token = one.mint()
    on_one, on_two = one.play_url(token=token), two.play_url(token=token)
    assert await one.get_outcome(on_one, source=HERE) == 302
    for edge, url in ((one, on_one), (two, on_two)):
        for _ in range(3):  # players request a playlist repeatedly
            assert await edge.get_outcome(url, source=HERE) == 302
            assert await edge.get_outcome(url, source=NEIGHBOUR) == 302
            assert await edge.get_outcome(url, source=ELSEWHERE) == "token-used-elsewhere"
    response = await two.get(on_two, source=ELSEWHERE)
    assert response.status == 403
    assert token not in two.log.getvalue()


async def test_exactly_one_of_two_simultaneous_networks_wins(instances):
    async def race() -> list[int]:
        token = instances[0].mint()
        urls = [edge.play_url(token=token) for edge in instances]
        runners = zip(instances, urls, (HERE, ELSEWHERE), strict=True)
        responses = await asyncio.gather(*(edge.get(url, source=at) for edge, url, at in runners))
        return sorted(response.status for response in responses)

    for _ in range(10):
        assert await asyncio.gather(*(race() for _ in range(10))) == [[302, 403]] * 10


async def test_head_options_and_refused_requests_do_not_bind_a_token(instances):
    one, two = instances
    token = one.mint()
    url = one.play_url(token=token)
    for method in ("HEAD", "OPTIONS"):
        assert await one.get_outcome(url, source=ELSEWHERE, method=method) in {200, 204}
    other_video = one.play_url("x8demo2", token=token)
    assert await one.get_outcome(other_video, source=ELSEWHERE) == "token-video"
    assert await two.try_play(token=token, source=HERE) == 302
    assert await one.get_outcome(url, source=ELSEWHERE, method="HEAD") == "token-used-elsewhere"
    assert await one.get_outcome(url, source=HERE, method="HEAD") == 302


async def test_head_with_an_unbound_token_gets_no_stream_url(instances, sandbox):
    """Otherwise a link would play in every network that first sends a HEAD request."""
    one, _ = instances
    token = one.mint()
    calls = sandbox.controls.calls["video"]
    for path, kind in (("m3u8", "application/vnd.apple.mpegurl"), ("mp4", "video/mp4")):
        url = f"{one.player}/play/x8demo1.{path}?token={token}"
        response = await one.get(url, method="HEAD", source=ELSEWHERE)
        assert (response.status, response.headers["Content-Type"]) == (200, kind)
        assert "Location" not in response.headers
    assert sandbox.controls.calls["video"] == calls


async def test_a_token_that_names_its_network_does_not_use_the_shared_state(server, instances):
    one, _ = instances
    token = one.mint(network=parse_network("127.0.0.0/16"))
    await one.play()
    before = await server.count_commands()
    for source in (HERE, ELSEWHERE):
        assert await one.try_play(token=token, source=source) == 302
    assert await server.count_commands() == before


async def test_a_token_with_the_twin_signature_is_the_same_token(start_edge):
    """An ES256 signature (r, s) has a valid twin (r, n - s), which needs no key to compute."""
    private_key = generate_private_key(SECP256R1())
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    keys = [{"kid": "ec", "alg": "ES256", "secret": pem}]
    edge = await start_edge(tokens={"bind_on_first_use": True, "keys": keys})
    signed, _, signature = (token := edge.mint()).rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    r, s = raw[:32], int.from_bytes(raw[32:])
    twin = f"{signed}.{b64(r + (P256_ORDER - s).to_bytes(32))}"
    assert twin != token
    assert await edge.try_play(token=twin, source=HERE) == 302
    assert await edge.try_play(token=token, source=HERE) == 302
    assert await edge.try_play(token=token, source=ELSEWHERE) == "token-used-elsewhere"


async def test_a_token_is_bound_to_one_network_per_address_family(clock):
    first_use = FirstUse(build_state(MemoryStore(clock), clock), clock, on_failure="deny")

    async def check(address: str) -> None:
        await first_use.bind(
            build_play_request(token="a.b.c", viewer=parse_address(address)), CLAIMS
        )

    await check("203.0.113.7")
    await check("2001:db8:1:2::3")
    await check("203.0.113.200")
    await check("2001:db8:1:2:ffff::1")
    for elsewhere in ("203.0.112.255", "203.0.114.0", "2001:db8:1:1:ffff::", "2001:db8:1:3::"):
        with pytest.raises(Refusal, match="token-used-elsewhere"):
            await check(elsewhere)


async def test_the_first_play_costs_one_round_trip_and_later_plays_none(server, instances):
    one, other = instances
    token = one.mint()
    for edge in (one, other):  # prepares connections and access tokens
        await edge.play()
    before = await server.count_commands()
    await one.try_play(token=token, source=HERE)
    first_play = await server.count_commands() - before
    for _ in range(3):
        await one.try_play(token=token, source=HERE)
        await one.try_play(token=token, source=ELSEWHERE)
    all_plays = await server.count_commands() - before
    assert (first_play, all_plays) == (4, 4)  # MULTI SET GET EXEC, in one round trip


async def test_plays_without_first_use_binding_send_no_request_to_redis(server, start_edge):
    edge = await start_edge(state={"url": server.url})
    await edge.play()
    before = await server.count_commands()
    for source in (HERE, ELSEWHERE):
        assert (await edge.play(source=source)).status == 302
    assert await server.count_commands() == before


async def test_many_auth_requests_with_one_token_send_one_request_to_redis(server, start_edge):
    guard = {"auth": {"protected_paths": ["/hls/(?P<video>[^/]+)/.+"]}}
    shared = {**ON, **guard, "state": {"url": server.url}}
    edge = await start_edge(**shared, viewer={"trusted_proxies": ["127.0.0.1"]})
    token = edge.mint()

    async def auth(name: str, viewer: str, method: str = "GET") -> str | int:
        headers = {
            "X-Original-URI": f"/hls/x8demo1/{name}?token={token}",
            "X-Original-Path": f"/hls/x8demo1/{name}",
            "X-Original-Method": method,
            "X-Forwarded-For": viewer,
        }
        return await edge.get_outcome(f"{edge.operator}/auth", headers=headers)

    await edge.get(edge.play_url(), headers={"X-Forwarded-For": "127.0.5.5"})
    assert await auth("index.m3u8", "127.0.9.9", "HEAD") == 204
    before = await server.count_commands()
    for n in range(20):
        assert await auth(f"{n}.ts", "127.0.7.7") == 204
        assert await auth(f"{n}.ts", "127.0.8.8") == "token-used-elsewhere"
    assert await server.count_commands() - before == 4


async def test_a_single_instance_binds_tokens_without_redis(start_edge):
    edge = await start_edge(**ON)
    url = edge.play_url()
    assert await edge.get_outcome(url, source=HERE) == 302
    assert await edge.get_outcome(url, source=ELSEWHERE) == "token-used-elsewhere"
    assert await edge.try_play(source=ELSEWHERE) == 302


async def test_cached_bindings_are_bounded_and_evicted_ones_are_read_again(clock):
    class Counting(MemoryStore):
        claims = 0

        async def claim(self, name: str, value: str, *, ttl: float) -> str:
            self.claims += 1
            return await super().claim(name, value, ttl=ttl)

    store = Counting(clock)
    first_use = FirstUse(build_state(store, clock), clock, on_failure="deny")
    viewer = parse_address("203.0.113.7")

    async def use_token(n: int) -> None:
        await first_use.bind(build_play_request(token=f"a.{n}.c", viewer=viewer), CLAIMS)

    for n in range(MAX_CACHED_BINDINGS + 1):
        await use_token(n)
    await use_token(MAX_CACHED_BINDINGS)
    assert store.claims == MAX_CACHED_BINDINGS + 1
    await use_token(0)
    assert store.claims == MAX_CACHED_BINDINGS + 2
    with pytest.raises(Refusal, match="token-used-elsewhere"):
        await first_use.bind(
            build_play_request(token="a.0.c", viewer=parse_address("198.51.100.7")), CLAIMS
        )


async def test_stream_urls_and_mp4_requests_bind_a_token(start_edge):
    edge = await start_edge(**ON)
    token = edge.mint()
    listed = f"{edge.player}/stream-urls?video_id=x8demo1&formats=stream_hls_url&token={token}"
    assert await edge.get_outcome(listed, source=HERE) == 200
    file = f"{edge.player}/play/x8demo1.mp4?token={token}"
    assert await edge.get_outcome(file, source=ELSEWHERE) == "token-used-elsewhere"


async def test_a_token_in_the_authorization_header_has_the_same_binding(start_edge):
    edge = await start_edge(**ON)
    token = edge.mint()
    assert await edge.try_play(token=token, source=HERE) == 302
    session: aiohttp.ClientSession = edge.from_address(ELSEWHERE)
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(f"{edge.player}/play/x8demo1.m3u8", headers=headers) as response:
        assert response.headers["X-Deny-Reason"] == "token-used-elsewhere"
