"""Play every stream in every player, directly and through the relay; print a table in Markdown.

PYTHONPATH=tests python -m players.matrix
"""

import argparse
import asyncio
import shutil
import sys
from contextlib import AsyncExitStack
from typing import Any

from field_cases import run_case, serve_case
from players.playback import PAGES, build_players
from players.streams import SANDBOX_VIDEOS, list_cases, select_segments
from playwright.async_api import Browser, async_playwright
from support import CHROMIUM_FLAGS, run_test_edge, run_test_sandbox

DIRECT_SECONDS, RELAY_SECONDS = 20, 60
AT_ONCE = 2


async def play_directly(browser: Browser, stream: str, player: str) -> str:
    """Return why a stream does not play from its CDN; empty if it plays."""
    return await _play(browser, stream, player, is_relayed=False)


async def play_relayed(browser: Browser, stream: str, player: str) -> str:
    """Return why a stream does not play through the relay; empty if it plays."""
    return await _play(browser, stream, player, is_relayed=True)


async def _play(browser: Browser, stream: str, player: str, *, is_relayed: bool) -> str:
    seconds = RELAY_SECONDS if is_relayed else DIRECT_SECONDS
    async with AsyncExitStack() as stack:
        case: dict[str, Any] = list_cases().get(stream, {})
        cmcd = "query" if case.get("player_adds") else ""
        play = build_players(browser, cmcd=cmcd)[player]
        if case and not is_relayed:
            cdn = await stack.enter_async_context(serve_case(case, select_segments(case)))
            return await play(cdn.url, seconds)
        sandbox = await stack.enter_async_context(run_test_sandbox())
        if case:
            context = run_case(sandbox, case, select_segments(case))
            edge, _ = await stack.enter_async_context(context)
            return await play(edge.play_url(), seconds)
        mode = "relay" if is_relayed else "redirect"
        edge = await stack.enter_async_context(run_test_edge(sandbox, delivery={"mode": mode}))
        return await play(edge.play_url(stream), seconds)


async def measure(streams: list[str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return for each stream and player why it does not play directly, and through the relay."""
    cells: dict[tuple[str, str], tuple[str, str]] = {}
    places = asyncio.Semaphore(AT_ONCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )

        async def fill(stream: str, player: str) -> None:
            async with places:
                direct = await play_directly(browser, stream, player)
                relayed = await play_relayed(browser, stream, player)
            cells[stream, player] = direct, relayed
            sys.stderr.write(f"{stream} in {player}: direct {direct or 'plays'}; relay {relayed or 'plays'}\n")  # fmt: skip

        players = build_players(browser)
        await asyncio.gather(*(fill(stream, player) for stream in streams for player in players))
        await browser.close()
    return cells


def format_cell(direct: str, relayed: str) -> str:
    if not direct:
        return "direct only" if relayed else "yes"
    return "no" if relayed else "relay only"


def main() -> None:
    parser = argparse.ArgumentParser(prog="players.matrix", description=__doc__)
    parser.add_argument("streams", nargs="*", help="the streams to play; all by default")
    streams = parser.parse_args().streams or [*SANDBOX_VIDEOS, *list_cases()]
    cells = asyncio.run(measure(streams))
    players = [*PAGES, "ffmpeg", "streamlink"]
    lines = [f"| | {' | '.join(players)} |", "|---" * (len(players) + 1) + "|"]
    for stream in streams:
        row = " | ".join(format_cell(*cells[stream, player]) for player in players)
        lines.append(f"| {stream} | {row} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
