"""A relayed live channel goes on: past its token, over new keys, while edges are replaced."""

import json

import pytest
from players.conftest import NATIVE, WITH_HLS_JS, a_page_elsewhere, playing
from relay_stack import relaying
from support import eventually

from proxy.settings.schema import SANDBOX_SEAL_SECRET

LIFETIME = 4  # seconds of the token
AFTER = {
    # Neither the key that signed the token nor the key that sealed the session comes first any more.
    "PLAYGATE_TOKENS__KEYS": json.dumps([{"kid": "next", "alg": "HS256", "secret": "n" * 40}]),
    "PLAYGATE_RELAY__KEYS": json.dumps([{"secret": "another-seal-secret-0123456789abcdef"}, {"secret": SANDBOX_SEAL_SECRET.decode()}]),
}  # fmt: skip


@pytest.mark.parametrize("html", [NATIVE, WITH_HLS_JS], ids=["native", "hls.js"])
async def test_a_live_session_outlives_its_token_and_every_key(component, browser, tmp_path, html):
    page = await browser.new_page()
    async with relaying(component("nginx"), tmp_path) as relayed:
        token_url = relayed.play_url("x8live1", ttl=LIFETIME)
        async with a_page_elsewhere(html, token_url) as url:
            await page.goto(url)
            before = (await playing(page, seconds=2))["played"]
            for edge in relayed.edges:
                await edge.stop()
                await edge.start(**AFTER)

            async def has_lapsed() -> bool:
                async with relayed.session.get(token_url) as answer:
                    return answer.status == 401

            await eventually(has_lapsed)  # its token is worth nothing any more
            state = await playing(page, seconds=before + 3 * LIFETIME)

        assert state["error"] is None and state["errors"] == []
        assert await relayed.metric("playgate_relayed_bytes_total") == 0
        assert await relayed.metric(r'playgate_refusals_total{reason="seal-\w+"}') == 0
