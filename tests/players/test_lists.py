"""hls.js plays interstitials and switches pathways through the relay, and sees nothing of the CDN."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from field_cases import FOLDER, QUERY, run_case
from players.conftest import WITH_HLS_JS, serve_page
from players.streams import END, INF, PLAIN, build_case, find_segment

EVENTS = """
  window.events = [];
  for (const name of ["INTERSTITIAL_ASSET_STARTED", "INTERSTITIAL_ASSET_ENDED", "INTERSTITIALS_PRIMARY_RESUMED"])
    hls.on(Hls.Events[name], () => events.push(name));
  hls.on(Hls.Events.FRAG_BUFFERED, (_, {frag}) => events.push(frag.url));
  hls.loadSource("""
PAGE = WITH_HLS_JS.replace("  hls.loadSource(", EVENTS.lstrip("\n"))

HEAD = (
    "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
    "#EXT-X-PROGRAM-DATE-TIME:2026-11-28T10:00:00.000Z\n"
)
SEGMENTS = "".join(f"#EXTINF:2.000,\n{number}.ts\n" for number in range(4))
INTERSTITIAL = (
    '#EXT-X-DATERANGE:ID="ad",CLASS="com.apple.hls.interstitial",'
    'START-DATE="2026-11-28T10:00:01.000Z",DURATION=2,{asset}\n'
)
ASSETS = json.dumps({"ASSETS": [{"URI": "ads/ad.m3u8?ad=SECRET", "DURATION": 2}]})
AD = PLAIN.replace("#EXTINF:2.000,\n1.ts\n", "")


@asynccontextmanager
async def run_player(sandbox, page, case) -> AsyncIterator[None]:
    """Play a case through the relay, and check everything that the page requests and receives."""
    requested, reading = [], []
    page.on("request", lambda request: requested.append(request.url))

    def keep(response) -> None:
        if response.url.partition("?")[0].endswith((".m3u8", ".json")) and response.ok:
            reading.append(asyncio.create_task(response.text()))

    page.on("response", keep)
    async with run_case(sandbox, case, find_segment) as (edge, cdn):
        async with serve_page(PAGE, edge.play_url()) as url:
            await page.goto(url)
            yield
            received = await asyncio.gather(*reading)
        origins = (edge.player, url.rstrip("/"), "blob:")
        assert [url for url in requested if not url.startswith(origins)] == []
        hidden = (cdn.origin.partition("//")[2], QUERY, "SECRET", FOLDER)
        assert received and not any(word in text for word in hidden for text in received)
    assert await page.evaluate("() => errors") == []


@pytest.mark.parametrize(
    "asset", ['X-ASSET-URI="ads/ad.m3u8?ad=SECRET"', 'X-ASSET-LIST="ads.json?list=SECRET"']
)
async def test_hls_js_plays_an_interstitial_through_the_relay(sandbox, page, asset):
    media = HEAD + INTERSTITIAL.replace("{asset}", asset) + SEGMENTS + END
    files = {"ads.json": {"body": ASSETS, "type": "application/json"}, "ads/ad.m3u8": AD}
    async with run_player(sandbox, page, build_case(media, **files)):
        await page.wait_for_function(
            "() => events.includes('INTERSTITIALS_PRIMARY_RESUMED')", timeout=90_000
        )
        events = await page.evaluate("() => events")

    assert "INTERSTITIAL_ASSET_STARTED" in events


async def test_hls_js_switches_to_the_pathway_that_the_steering_manifest_prefers(sandbox, page):
    steering = {"VERSION": 1, "TTL": 300, "PATHWAY-PRIORITY": ["CDN-B", "CDN-A"]}
    master = (
        '#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI="steer.json?s=SECRET",PATHWAY-ID="CDN-A"\n'
        f'{INF},PATHWAY-ID="CDN-A"\na/m.m3u8\n{INF},PATHWAY-ID="CDN-B"\nb/m.m3u8\n'
    )
    files = {f"{pathway}/m.m3u8": PLAIN.replace("\n0.", f"\n{pathway}-0.").replace("\n1.", f"\n{pathway}-1.") for pathway in "ab"}  # fmt: skip
    files["steer.json"] = {"body": json.dumps(steering), "type": "application/json"}
    async with run_player(sandbox, page, build_case(master=master, **files)):
        await page.wait_for_function(
            "() => events.some(event => event.includes('b-1.ts'))", timeout=90_000
        )
