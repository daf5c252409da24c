"""A relayed live channel keeps playing after its token expires and its keys are rotated."""

import json

import pytest
from players.conftest import NATIVE, WITH_HLS_JS, serve_page, wait_until_playing
from relay_stack import run_relay_stack
from support import wait_until

from proxy.settings.schema import SANDBOX_SEAL_SECRET

TOKEN_TTL_SECONDS = 4
ROTATED_KEYS = {
    # The key that signed the token is gone; the key that sealed the session is no longer the newest.
    "PLAYGATE_TOKENS__KEYS": json.dumps([{"kid": "next", "alg": "HS256", "secret": "n" * 40}]),
    "PLAYGATE_RELAY__KEYS": json.dumps([{"secret": "another-seal-secret-0123456789abcdef"}, {"secret": SANDBOX_SEAL_SECRET.decode()}]),
}  # fmt: skip


@pytest.mark.parametrize("html", [NATIVE, WITH_HLS_JS], ids=["native", "hls.js"])
async def test_a_relayed_live_session_survives_token_expiry_key_rotation_and_edge_restarts(
    component, browser, tmp_path, html
):
    page = await browser.new_page()
    async with run_relay_stack(component("nginx"), tmp_path) as relayed:
        token_url = relayed.play_url("x8live1", ttl=TOKEN_TTL_SECONDS)
        async with serve_page(html, token_url) as url:
            await page.goto(url)
            before = (await wait_until_playing(page, seconds=2))["played"]
            for edge in relayed.edges:
                await edge.stop()
                await edge.start(**ROTATED_KEYS)

            async def has_expired() -> bool:
                async with relayed.session.get(token_url) as response:
                    return response.status == 401

            await wait_until(has_expired)
            state = await wait_until_playing(page, seconds=before + 3 * TOKEN_TTL_SECONDS)

        assert state["error"] is None and state["errors"] == []
        assert await relayed.metric("playgate_relayed_bytes_total") == 0
        assert await relayed.metric(r'playgate_refusals_total{reason="seal-\w+"}') == 0
