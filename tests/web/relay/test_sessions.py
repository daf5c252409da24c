"""Relay sessions: which requests a seal allows, for whom, and for how long."""

import time
from ipaddress import ip_network

import jwt
import pytest
from support import OPERATOR_KEY, SECRET, run_test_edge
from web.relay.relay_edge import RELAY, fetch_media_playlist, find_relay_paths

from proxy.domain.reasons import Refusal
from proxy.domain.seal import SealKey, Session
from proxy.domain.variant_limits import VariantLimits
from proxy.domain.video import VideoId
from proxy.hls.relay_urls import seal_file, seal_playlist
from proxy.sandbox.controls import Fault
from proxy.settings import Settings

OLD_KEY = {"secret": "the-old-seal-secret-0123456789abcdef"}
NEW_KEY = {"secret": "the-new-seal-secret-0123456789abcdef"}


async def test_the_edge_resolves_for_its_own_address_and_each_play_gets_its_own_session(
    edge, sandbox
):
    """The viewer plays from 127.0.0.5; the CDN serves the stream only to 127.0.0.1."""
    path, _ = await fetch_media_playlist(edge, source="127.0.0.5")
    other, _ = await fetch_media_playlist(edge, source="127.0.0.5")

    assert path != other
    assert sandbox.controls.calls["video"] == 2


@pytest.mark.parametrize("kind", ["playlist", "bytes"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path[:30] + ("A" if path[30] != "A" else "B") + path[31:], "seal-invalid"),
        (lambda path: path + "?token=x", None),
        (lambda path: path + "?", None),
        (lambda path: path + "?CMCD=bl%3D0%2Csid%3D%226e2fb550%22&_=1700000000", None),
        (lambda path: path + "?_HLS_msn=1&_HLS_msn=2", None),
        (lambda path: path + "?_HLS_msn=..%2f&_HLS_skip=", None),
        (lambda path: path.replace("vod_360", "vod_180") + "x", "seal-invalid"),
        (lambda path: path.rpartition("/")[0] + "/../" + path.rpartition("/")[2], "seal-invalid"),
        (lambda path: path.rpartition("/")[0] + "/%2e%2e/" + path.rpartition("/")[2], "seal-invalid"),
        (lambda path: path.replace("/relay/", "/relay//"), "seal-invalid"),
        (lambda path: path + "/more", "seal-invalid"),
        (lambda path: path.replace("frag(0)", "frag(6)") + ("" if "frag" in path else "x"), "seal-invalid"),
    ],
)  # fmt: skip  # one case per line
async def test_a_changed_path_is_refused_and_never_reaches_the_upstream(
    edge, sandbox, kind, change, reason
):
    path, body = await fetch_media_playlist(edge)
    path = path if kind == "playlist" else find_relay_paths(body, path)[0]
    before = sandbox.controls.calls.copy()
    response = await edge.get(edge.player + change(path))

    if reason is None:
        assert response.status == 200
        return
    assert (response.status, response.reason) == (403, reason)
    assert sandbox.controls.calls == before


async def test_a_playlist_seal_is_refused_on_the_bytes_route_and_vice_versa(edge, sandbox):
    path, body = await fetch_media_playlist(edge)
    before = sandbox.controls.calls.copy()
    segment = find_relay_paths(body, path)[0]
    for swapped in (
        path.replace("/playlist.m3u8", "/file/playlist.m3u8"),
        path.replace("/playlist.m3u8", "/list.json"),
        segment.rpartition("/")[0] + "/playlist.m3u8",
    ):
        assert (await edge.get(edge.player + swapped)).reason == "seal-invalid"
    assert sandbox.controls.calls == before


async def test_a_session_works_within_its_network_and_is_refused_outside_it(edge, sandbox):
    path, body = await fetch_media_playlist(edge, source="127.0.0.5")
    segment = find_relay_paths(body, path)[0]
    for url in (edge.player + path, edge.player + segment):
        assert (await edge.get(url, source="127.0.0.77")).status == 200
    before = sandbox.controls.calls.copy()
    for url in (edge.player + path, edge.player + segment):
        response = await edge.get(url, source="127.0.1.5")
        assert (response.status, response.reason) == (403, "seal-network")
    assert sandbox.controls.calls == before


async def test_a_session_is_bound_to_the_network_of_its_token(edge):
    token = edge.mint(network=ip_network("127.0.0.0/16"))
    response = await edge.get(edge.play_url(token=token), source="127.0.0.5")

    assert (
        await edge.get(edge.player + find_relay_paths(response.body)[0], source="127.0.200.5")
    ).status == 200


async def test_a_session_outlives_its_token_and_expires_after_session_max(sandbox, clock):
    async with run_test_edge(sandbox, clock=clock, relay={"session_max": 3600}, **RELAY) as edge:
        token = edge.mint("x8live1", ttl=60)
        response = await edge.get(edge.play_url("x8live1", token))
        path = find_relay_paths(response.body)[0]
        clock.advance(61)
        assert (await edge.get(edge.play_url("x8live1", token))).reason == "token-expired"
        body = (await edge.get(edge.player + path)).body
        assert (await edge.get(edge.player + find_relay_paths(body, path)[0])).status == 200

        clock.advance(3600 - 61)
        for url in (path, find_relay_paths(body, path)[0]):
            response = await edge.get(edge.player + url)
            assert (response.status, response.reason) == (403, "seal-expired")


async def test_a_running_session_survives_the_rotation_of_every_key(sandbox):
    """Both relay.keys and tokens.keys rotate; the URIs within the playlist stay the same, too."""
    async with run_test_edge(sandbox, relay={"keys": [OLD_KEY]}, **RELAY) as edge:
        path, before = await fetch_media_playlist(edge)
    new_tokens = {"keys": [{"kid": "other", "alg": "HS256", "secret": "x" * 32}]}
    async with run_test_edge(
        sandbox, relay={"keys": [NEW_KEY, OLD_KEY]}, tokens=new_tokens, **RELAY
    ) as edge:
        response = await edge.get(edge.player + path)
        assert (response.status, response.body) == (200, before)
        assert (await edge.get(edge.player + find_relay_paths(before, path)[0])).status == 200
    async with run_test_edge(sandbox, relay={"keys": [NEW_KEY]}, **RELAY) as edge:
        assert (await edge.get(edge.player + path)).reason == "seal-invalid"


async def test_a_refused_relay_request_logs_its_video_and_subject(sandbox):
    async with run_test_edge(sandbox, **RELAY) as edge:
        response = await edge.get(edge.play_url(token=edge.mint(subject="viewer-7")))
        path = find_relay_paths(response.body)[0]
        sandbox.controls.set_fault("playlist", Fault(status=404))
        await edge.get(edge.player + path)

    line = edge.lines()[-1]
    assert (line["route"], line["reason"]) == ("relayed-playlist", "stream-unavailable")
    assert (line["video"], line["subject"]) == ("x8demo1", "viewer-7")


async def test_an_edge_without_a_relay_key_cannot_relay(sandbox, monkeypatch):
    # With the sandbox, a published relay key is the default; otherwise there is none.
    monkeypatch.setattr(Settings, "get_seal_secrets", lambda _settings: [])
    async with run_test_edge(sandbox, delivery={"cdn_families": ["ipv4", "ipv6"]}) as edge:
        assert (await edge.play()).status == 302
        with pytest.raises(Refusal, match="request-invalid"):  # minting refuses the limits
            edge.mint(limits=VariantLimits(max_height=360))
        claims = {
            "video": "*",
            "iat": int(time.time()),
            "exp": int(time.time()) + 60,
            "max_height": 360,
        }
        with_limits = jwt.encode(claims, SECRET, "HS256", {"kid": "sandbox"})
        response = await edge.get(edge.play_url(token=with_limits))
    assert (response.status, response.reason) == (403, "token-format")
    assert edge.lines()[-1]["detail"] == (
        "max_height and max_bandwidth require relaying; relay.keys is not set"
    )


async def test_a_token_secret_cannot_forge_a_relay_session(edge, sandbox):
    """A publisher who signs tokens knows this secret, and how relay keys seal paths."""
    session = Session(
        video=VideoId("x8demo1"),
        network=ip_network("127.0.0.0/24"),
        started_at=int(time.time()),
        jti=None,
        subject=None,
        issued_at=int(time.time()),
    )
    url = f"{sandbox.origin}/cdn/anything.m3u8"
    for secret in (SECRET, OPERATOR_KEY):
        key = SealKey(secret.encode())
        paths = seal_playlist(key, session, url, {}, "playlist"), seal_file(key, session, url)
        for path in paths:
            response = await edge.get(edge.player + path)
            assert (response.status, response.reason) == (403, "seal-invalid")


class TestAuth:
    """nginx asks `/auth` about a segment, and then fetches it from the CDN itself."""

    @pytest.fixture
    async def edge(self, sandbox):
        viewer = {"trusted_proxies": ["127.0.0.1"]}
        async with run_test_edge(sandbox, viewer=viewer, **RELAY) as running:
            yield running

    async def request_auth(
        self, edge, path: str, *, viewer: str = "127.0.0.5", query: str = "", method: str = "GET"
    ):
        headers = {
            "X-Original-URI": path + query, "X-Original-Path": path, "X-Original-Method": method,
            "X-Forwarded-For": viewer,
        }  # fmt: skip  # one case per line
        return await edge.get(f"{edge.operator}/auth", headers=headers)

    async def fetch_segment_path(self, edge) -> str:
        headers = {"X-Forwarded-For": "127.0.0.5"}
        token = edge.mint(subject="viewer-7")
        first = await edge.get(edge.play_url(token=token), headers=headers)
        playlist = find_relay_paths(first.body)[0]
        media = await edge.get(edge.player + playlist, headers=headers)
        return find_relay_paths(media.body, playlist)[0]

    async def test_nginx_gets_the_upstream_url(self, edge, sandbox):
        response = await self.request_auth(edge, await self.fetch_segment_path(edge))
        upstream = response.headers["X-Playgate-Upstream"]

        assert response.status == 204
        assert upstream.startswith(f"{sandbox.origin}/sec2(") and upstream.endswith("_vod_360.ts")
        assert (response.headers["X-Playgate-Video"], response.headers["X-Playgate-Subject"]) == (
            "x8demo1",
            "viewer-7",
        )
        assert await edge.metric("playgate_relayed_bytes_total") == {}

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"viewer": "127.0.1.5"}, "seal-network"),
            ({"method": "POST"}, "path-not-covered"),
        ],
    )
    async def test_a_refusal_carries_its_reason_and_no_upstream_url(self, edge, change, reason):
        response = await self.request_auth(edge, await self.fetch_segment_path(edge), **change)

        assert (response.status, response.reason) == (403, reason)
        assert "X-Playgate-Upstream" not in response.headers

    async def test_a_token_does_not_open_a_relayed_path(self, edge):
        path = (await self.fetch_segment_path(edge)).replace("/relay/", "/relay/A")
        response = await self.request_auth(edge, path, query=f"?token={edge.mint('*')}")

        assert response.reason == "seal-invalid"
