"""The fuzzed targets: each parses arbitrary bytes and asserts the promises about the result.

A parser may raise its documented errors, mostly Refusal; every other exception is a finding.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from hls.relayed import REFERENCE, build_place, list_paths, rewrite
from support import hs256_key, sign_token

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.api_responses import check_success, read_error_kinds, read_object
from proxy.adapters.dailymotion.legacy_api import LegacyApi
from proxy.adapters.dailymotion.token_endpoint import TokenEndpoint
from proxy.adapters.dailymotion.v2_api import V2Api
from proxy.adapters.http_client import HttpResponse
from proxy.domain.access import AccessRequest, TokenPolicy, authorize
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import (
    TrustedProxies,
    find_viewer,
    parse_network,
    parse_trusted_networks,
)
from proxy.domain.formats import ANY_FIELDS
from proxy.domain.original_uri import read_forwarded, read_original
from proxy.domain.reasons import Refusal
from proxy.domain.revocations import Revocation
from proxy.domain.seal import SealKeys, Session
from proxy.domain.tokens.claims import verify
from proxy.domain.tokens.jwks import read_own_set, read_published_set
from proxy.domain.tokens.keyring import KeyInvalid, Keyring
from proxy.domain.variant_limits import VariantLimits
from proxy.hls.lint.check import check
from proxy.hls.playlist_writer import is_playlist
from proxy.hls.relay_urls import open_bytes, open_playlist, seal_file
from proxy.settings.platform import PlatformConfig
from proxy.web.admin_api import RevocationRequest, TokenRequest, parse_body

NOW = 1_800_000_000
LEGACY, V2 = LegacyApi(PlatformConfig()), V2Api(PlatformConfig())
ENDPOINT = TokenEndpoint(None, PlatformConfig(), Clock())
RING = Keyring([hs256_key()])
POLICY = TokenPolicy(max_ttl=86_400, leeway=10, audience=None)
VIEWER = ip_address("8.8.4.4")
NETWORKS = parse_trusted_networks(["10.0.0.0/8", "2001:db8:ffff::/48"])
TRUSTED_PROXIES = TrustedProxies(NETWORKS)
PROXY = TRUSTED_PROXIES.read_hop("10.0.0.1")
FORGED = "6.6.6.6"
SEAL_KEYS = SealKeys([b"n" * 32])
SESSION = Session(
    video="x8abcd",
    network=ip_network("203.0.113.0/24"),
    started_at=NOW,
    jti="j",
    subject=None,
    issued_at=NOW,
)
HOSTS = AllowedHosts(["dailymotion.com", "dmcdn.net"], plain_http=False)
BASE = "https://vod3.cf.dmcdn.net/sec2(abc)/video/612/x8abcd.m3u8?a=1"
HEADER = {"alg": "HS256", "kid": "one"}
CLAIMS = {"video": "x8abcd", "iat": NOW, "exp": NOW + 300}


def check_token(token: str) -> None:
    """Verify and use a token; assert that its claims allow the play."""
    with suppress(Refusal):
        claims = verify(token, RING)
        play = AccessRequest(now=NOW, video="x8abcd", format="hls", viewer=VIEWER)
        authorize(claims, play, POLICY)
        assert claims.video in {"x8abcd", "*"}
        assert claims.expires_at > NOW
        assert 0 < claims.expires_at - claims.issued_at <= POLICY.max_ttl
        assert claims.network is None or VIEWER in claims.network
        assert "hls" in (claims.formats or ["hls"])


def fuzz_token(data: bytes) -> None:
    check_token(data.decode("latin-1"))


def fuzz_token_header(data: bytes) -> None:
    check_token(sign_token(data, CLAIMS))


def fuzz_token_payload(data: bytes) -> None:
    check_token(sign_token(HEADER, data))


def fuzz_forwarding(data: bytes) -> None:
    """Addresses to the left of the viewer's, which anyone can forge, do not change the viewer."""
    lines = data.decode("latin-1").split("\n")
    viewer = find_viewer(PROXY, lines, TRUSTED_PROXIES)
    if viewer is not None and not any(viewer in network for network in NETWORKS):
        assert find_viewer(PROXY, [FORGED, *lines], TRUSTED_PROXIES) == viewer
        assert find_viewer(PROXY, [f"{FORGED}, {lines[0]}", *lines[1:]], TRUSTED_PROXIES) == viewer


def fuzz_network(data: bytes) -> None:
    with suppress(ValueError):
        parse_network(data.decode("latin-1"))


def fuzz_playlist_check(data: bytes) -> None:
    check(data, base=BASE)


def fuzz_playlist_relayed(data: bytes) -> None:
    """Every URI of a relayed playlist is a relay URL that leads to an allowed host."""
    place = build_place(BASE, session=SESSION)
    if not is_playlist(data):
        return
    try:
        relayed = rewrite(data, base=BASE, hosts=HOSTS, place=place)
    except Refusal:
        return
    assert "https:" not in relayed and "dmcdn" not in REFERENCE.sub("", relayed)
    for path in list_paths(relayed.replace("unavailable", ""), place):
        is_list = path.endswith(("/playlist.m3u8", "/list.json"))
        opened = (open_playlist if is_list else open_bytes)(path, SEAL_KEYS)
        assert HOSTS.check(opened.url) == opened.url


def fuzz_playlist_within(data: bytes) -> None:
    """No variant above the limits is left."""
    with suppress(Refusal):
        limits = VariantLimits(max_bandwidth=10**6)
        text = rewrite(data, base=BASE, hosts=HOSTS, limits=limits)
        for line in re.findall(r"^#EXT-X-STREAM-INF:(.*)", text, re.MULTILINE):
            for bandwidth in re.findall(r"(?:\A|,)BANDWIDTH=([0-9]{1,18})(?:,|\Z)", line)[:1]:
                assert int(bandwidth) <= 10**6


def fuzz_seal(data: bytes) -> None:
    """Only the paths in SEALED open."""
    text = data.decode("latin-1")
    for path in (
        text,
        f"/relay/{text}",
        f"/relay/{text}/playlist.m3u8",
        f"/relay/{PLACE.seal}/{text}",
    ):
        for open_path in (open_bytes, open_playlist):
            with suppress(Refusal):
                opened = open_path(path, SEAL_KEYS)
                assert opened.session == SESSION
                assert opened.url in SEALED or LIVE_CHILD.fullmatch(opened.url)


def fuzz_original_uri(data: bytes) -> None:
    """A path is accepted only if it is unambiguous and the front door reads the same path."""
    raw, _, path = data.decode("latin-1").partition("\n")
    with suppress(Refusal):
        accepted = read_original(uris=[raw], paths=[path], methods=["GET"]).path
        assert accepted == path
        check_unambiguous(accepted, raw)
    with suppress(Refusal):
        check_unambiguous(read_forwarded(uris=[raw], methods=["GET"]).path, raw)


def check_unambiguous(path: str, raw: str) -> None:
    """Assert that decoding, normalizing or parsing the path once more does not change it."""
    assert path == unquote(raw.partition("?")[0])
    assert path == "/" or not {"..", ".", ""} & set(path.strip("/").split("/"))
    assert unquote(path) == path
    assert urlsplit(f"http://host{path}").path == path


def fuzz_stream_url(data: bytes) -> None:
    """In every accepted URL, another parser sees an allowed host, too."""
    with suppress(Refusal):
        url = HOSTS.check(data.decode("latin-1"))
        parts = urlsplit(url)
        assert parts.scheme == "https"
        assert f".{parts.hostname}".endswith((".dailymotion.com", ".dmcdn.net"))
        assert (parts.username, parts.password, parts.port) == (None, None, None)


def fuzz_upstream_json(data: bytes) -> None:
    for status in (200, 400, 401, 403, 404):
        response = HttpResponse(status=status, headers={}, body=data)
        with suppress(Refusal):
            check_success("videos", response)
        with suppress(Refusal):
            members = read_object("video", response)
            urls = LEGACY.read_streams(members, ANY_FIELDS)
            assert urls and all(isinstance(url, str) for url in urls.values())
        with suppress(Refusal):
            (url,) = V2.read_streams(read_object("video", response), ANY_FIELDS).values()
            assert url and isinstance(url, str)
        with suppress(Refusal):
            token = ENDPOINT.read_token(response, "client_credentials")
            assert token.value.isprintable() and 0 < token.expires_at < float("inf")
    with suppress(ValueError, RecursionError):
        read_error_kinds(json.loads(data))


def fuzz_published_keys(data: bytes) -> None:
    text = data.decode(errors="replace")
    for read in (read_own_set, lambda text: read_published_set(text, "issuer")):
        with suppress(KeyInvalid):
            read(text)


def fuzz_operator_body(data: bytes) -> None:
    for model in (TokenRequest, RevocationRequest):
        with suppress(Refusal):
            parse_body(model, data)


def fuzz_revocation(data: bytes) -> None:
    with suppress(ValueError):
        revocation = Revocation.from_json(data.decode(errors="replace"))
        assert Revocation.from_json(revocation.to_json()) == revocation


# Of a VOD: exactly these children. Of a live playlist: a block of names.
CHILDREN = [f"https://vod3.cf.dmcdn.net/sec2(abc)/video/612/{n}.ts" for n in range(40)]
LIVE_CHILD = re.compile(r"https://vod3\.cf\.dmcdn\.net/sec2\(abc\)/video/612/live-[0-9]{1,2}\.ts")
HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
KEY_URL = "https://x.dmcdn.net/key"
SEALED = {*CHILDREN, KEY_URL, BASE}
PLACE = build_place(BASE, session=SESSION)


def list_seal_seeds() -> tuple[bytes, ...]:
    """Return relay URLs that open, and changed ones that do not."""
    vod = HEAD + "#EXT-X-PLAYLIST-TYPE:VOD\n" + "".join(f"#EXTINF:4,\n{url}\n" for url in CHILDREN)
    first = list_paths(rewrite(vod, base=BASE, hosts=HOSTS, place=PLACE), PLACE)[0]
    live = f"{HEAD}#EXTINF:4,\nlive-7.ts\n"
    live_path = list_paths(rewrite(live, base=BASE, hosts=HOSTS, place=PLACE), PLACE)[0]
    key = seal_file(PLACE.key, SESSION, KEY_URL)
    playlist = f"/relay/{PLACE.seal}/playlist.m3u8"
    return tuple(
        path.encode()
        for path in (
            *(first, live_path, key, playlist),
            *(first.replace("/0.ts", "/40.ts"), live_path.replace("live-7", "live-700")),
            *(playlist.replace("playlist.m3u8", "file/m.ts"), key.replace("file/key", "list.json")),
        )
    )


SEAL_SEEDS = list_seal_seeds()

PLAYLIST = b"""#EXTM3U
#EXT-X-VERSION:9
#EXT-X-DEFINE:NAME="v",VALUE="w"
#EXT-X-TARGETDURATION:4
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MAP:URI="init.mp4",BYTERANGE="20@0"
#EXT-X-KEY:METHOD=AES-128,URI="k?{$v}",IV=0x00000000000000000000000000000001
#EXTINF:4.0,title
#EXT-X-PART:DURATION=1.0,URI="p.1.mp4",INDEPENDENT=YES
#EXT-X-BYTERANGE:10@5
1.ts#t
#EXTINF:4,
../2.ts
#EXT-X-DATERANGE:ID="a",START-DATE="2026-01-01T00:00:00Z",X-ASSET-URI="https://dmcdn.net/a"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p.2.mp4"
#EXT-X-ENDLIST
"""
MULTIVARIANT = b"""#EXTM3U
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en",URI="a.m3u8",DEFAULT=YES
#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360,CODECS="avc1.4d401f,mp4a.40.2",AUDIO="a"
https://vod3.cf.dmcdn.net/v.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"
#EXT-X-SESSION-DATA:DATA-ID="d",URI="d.json"
"""
JWK = b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":1}]}'
STREAMS = b'{"stream_hls_url":"https://dailymotion.com/a","mode":"live","onair":false,"access_token":"t","expires_in":36000,"error":null}'
V2_STREAMS = b'{"stream_urls":[{"stream_url":"https://dailymotion.com/a"},null],"error":null}'

# Each target's function and its seed inputs, by name.
TARGETS: Mapping[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "token": (fuzz_token, (sign_token(HEADER, CLAIMS).encode(),)),
    "token-header": (fuzz_token_header, (json.dumps(HEADER).encode(), b'{"alg":"none","typ":"JWT"}')),
    "token-payload": (
        fuzz_token_payload,
        (
            json.dumps(CLAIMS).encode(),
            json.dumps({**CLAIMS, "ip": "8.8.4.0/24", "fmt": ["hls"], "nbf": NOW, "jti": "j", "max_height": 1, "aud": ["a"]}).encode(),
        ),
    ),
    "forwarding": (fuzz_forwarding, (b"1.1.1.1, 8.8.4.4, 10.0.0.7", b"[2001:db8::1]:443\n10.0.0.9")),
    "network": (fuzz_network, (b"8.8.4.0/24", b"2001:db8::/64")),
    "playlist-check": (fuzz_playlist_check, (PLAYLIST, MULTIVARIANT)),
    "playlist-relayed": (fuzz_playlist_relayed, (PLAYLIST, MULTIVARIANT)),
    "playlist-within": (fuzz_playlist_within, (MULTIVARIANT, MULTIVARIANT.replace(b"800000", b"9000000"))),
    "seal": (fuzz_seal, SEAL_SEEDS),
    "original-uri": (fuzz_original_uri, (b"/hls/x8abcd/a%2Db.ts?token=a\n/hls/x8abcd/a-b.ts",)),
    "stream-url": (fuzz_stream_url, (b"https://cdndirector.dailymotion.com/a(b)%2f?c#d",)),
    "upstream-json": (fuzz_upstream_json, (STREAMS, V2_STREAMS, b'{"error":{"code":403,"type":"t","error_data":{"reason":"DM007"}}}')),
    "published-keys": (fuzz_published_keys, (JWK,)),
    "operator-body": (fuzz_operator_body, (b'{"video":"x8abcd","ttl":1,"ip":"8.8.4.4"}', b'{"sub":"a"}')),
    "revocation": (fuzz_revocation, (b'["sub","a",1,2]',)),
}  # fmt: skip
