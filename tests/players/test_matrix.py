"""Streams that play from their CDN play through the relay, in the same players."""

import re

import pytest
from field_cases import load_cases, skip_without_cases
from players.matrix import play_relayed
from players.playback import CMCD, PAGES, play_in_browser
from players.streams import OWN_STREAMS, SANDBOX_VIDEOS, list_cases
from support import ROOT, run_test_edge

# Reported to play directly, but not in the versions of these players that the tests use: ffmpeg does
# not open `data:` keys, and Shaka requests the case's missing image playlist.
NOT_DIRECTLY = {("data-key", "ffmpeg"), ("image-stream-inf", "Shaka")}
CASES = [
    (case["id"], player)
    for case in load_cases()
    for player in case["plays_direct_in"]
    if (case["id"], player) not in NOT_DIRECTLY
]


@pytest.mark.parametrize(("stream", "player"), skip_without_cases(CASES, names=2))
async def test_a_reported_stream_plays_in_every_player_that_plays_it_directly(
    component, browser, stream, player
):
    component("ffmpeg")

    assert await play_relayed(browser, stream, player) == ""


@pytest.mark.parametrize("player", ["hls.js", "ffmpeg"])
@pytest.mark.parametrize("stream", OWN_STREAMS)
async def test_other_streams_play(component, browser, stream, player):
    component("ffmpeg")

    assert await play_relayed(browser, stream, player) == ""


@pytest.mark.parametrize("player", ["hls.js", "Shaka"])
@pytest.mark.parametrize("place", CMCD)
async def test_players_that_send_cmcd_play_through_the_relay(sandbox, browser, player, place):
    """With CMCD in headers, a browser sends a preflight for every request."""
    html = PAGES[player]
    for old, new in CMCD[place].items():
        html = html.replace(old, new)
    sent = []

    async with run_test_edge(sandbox, delivery={"mode": "relay"}) as edge:

        def record(request) -> None:
            if request.url.startswith(f"{edge.player}/relay/"):
                has_headers = any(name.startswith("cmcd-") for name in request.headers)
                sent.append({"query": "CMCD=" in request.url, "headers": has_headers}[place])

        failure = await play_in_browser(browser, html, edge.play_url(), 90, on_request=record)

    assert failure == ""
    assert len(sent) >= 2 and all(sent)


def test_the_documented_matrix_has_every_stream_and_none_that_plays_directly_only():
    page = (ROOT / "docs" / "hls.md").read_text()
    table = page.partition("### Players")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|`]+) \| (.+) \|$", table, re.MULTILINE)
    cells = {name: row.split(" | ") for name, row in rows}

    assert {*SANDBOX_VIDEOS, *list_cases()} <= set(cells)
    assert {cell for row in cells.values() for cell in row} == {"yes", "no", "relay only"}
