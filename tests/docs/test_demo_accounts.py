"""The account examples of docs/sandbox.md run without changes other than free ports."""

import re
import sys
from contextlib import asynccontextmanager

import aiohttp
import pytest
from cli.test_login import fetch_page, submit_login_form
from documentation import read_code_blocks
from ports import free_port
from processes import run_process
from support import ROOT, wait_until

SECTION = (ROOT / "docs/sandbox.md").read_text().partition("## Its APIs and accounts")[2]
V2, PASSWORD, LOGIN, LOGGING_IN = read_code_blocks(SECTION.partition("\n## ")[0], "sh")


@pytest.fixture
def start_block(tmp_path):
    """Return a function that starts a shell block of the document."""
    player, operator, sandbox, callback = (free_port() for _ in range(4))
    demo = f"demo --port={player} --operator-port={operator} --sandbox-port={sandbox}"
    program = f"exec {sys.executable} -m proxy"

    def start(block: str):
        text = block.replace("make demo", f"{program} {demo}")
        text = re.sub(r"^playgate ", f"{program} ", text, flags=re.MULTILINE)
        text = text.replace("/tmp/login.json", str(tmp_path / "login.json"))
        text = text.replace(":8090", f":{sandbox}")
        env = {
            "PLAYGATE_PLATFORM__REDIRECT_URI": f"http://127.0.0.1:{callback}/callback",
            "BROWSER": "true",  # the program `true`, which does nothing
        }
        # exec cannot precede a variable assignment, so use env.
        text = re.sub(r"^(\w+=\S+) exec ", r"exec env \1 ", text, flags=re.MULTILINE)
        return run_process("sh", "-c", text, env=env, cwd=ROOT)

    return start


@asynccontextmanager
async def open_player(demo):
    text = await demo.wait_for_output("Ctrl-C stops it")
    url = re.search(r"Paste +(\S+)", text)[1]
    async with aiohttp.ClientSession() as session:

        async def play() -> str | None:
            async with session.get(url) as response:
                return response.headers.get("X-Deny-Reason")

        yield play


@pytest.mark.parametrize("block", [V2, PASSWORD], ids=["v2", "password"])
async def test_the_demo_plays_with_another_account(start_block, block):
    async with start_block(block) as demo, open_player(demo) as play:
        assert await play() is None


async def test_the_demo_plays_after_the_login(start_block):
    async with start_block(LOGIN) as demo, open_player(demo) as play:
        assert await play() == "platform-credentials"
        async with start_block(LOGGING_IN) as login:
            await login.wait_for_output("\n\n")
            printed = re.search(r"^  (http\S+)$", login.output, re.MULTILINE)[1]
            assert (await fetch_page(await submit_login_form(printed)))[0] == 200
            assert await login.wait_for_exit() == 0

        async def plays() -> bool:
            return await play() is None

        await wait_until(plays)
