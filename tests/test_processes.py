"""The processes `playgate serve` and `playgate demo`: signals, output and secrets."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from documentation import run_script
from nginx_server import run_deployed_nginx
from ports import free_port
from processes import (
    Process,
    build_edge_environment,
    playgate,
    run_command,
    run_process,
)
from support import SANDBOX_TOML, run_test_sandbox, wait_until
from yarl import URL

from proxy.cli.serve import create_stop_event

SECRETS = ["sandbox-secret", "known-to-everybody"]


def build_environment(sandbox, player: int | str, operator: int) -> dict[str, str]:
    return {
        "PLAYGATE_CONFIG": str(SANDBOX_TOML),
        "PLAYGATE_WEB__LISTEN": player if isinstance(player, str) else f"127.0.0.1:{player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
        **build_edge_environment(sandbox),
    }


async def mint_token(session: aiohttp.ClientSession, operator: int, video: str = "x8demo1") -> str:
    key = {"Authorization": "Bearer sandbox-operator-key-known-to-everybody"}
    url = f"http://127.0.0.1:{operator}/tokens"
    async with session.post(url, headers=key, json={"video": video}) as response:
        return (await response.json())["token"]


@asynccontextmanager
async def run_serve(
    sandbox,
) -> AsyncIterator[tuple[Process, aiohttp.ClientSession, int, int]]:
    """Run `playgate serve`; yield the process, an HTTP client, and the two ports."""
    player, operator = free_port(), free_port()
    async with (
        run_process(*playgate("serve"), env=build_environment(sandbox, player, operator)) as edge,
        aiohttp.ClientSession() as session,
    ):
        await edge.wait_for_output('"event": "serving"')
        yield edge, session, player, operator


async def test_serve_serves_and_stops_cleanly(sandbox):
    async with run_serve(sandbox) as (edge, session, player, operator):
        token = await mint_token(session, operator)
        url = f"http://127.0.0.1:{player}/play/x8demo1.m3u8?token={token}"
        async with session.get(url, allow_redirects=False) as response:
            assert response.status == 302
        code = await edge.stop()

    assert code == 0
    events = [json.loads(line)["event"] for line in edge.output.splitlines()]
    assert events == ["serving", "request", "request", "draining", "stopped"]


async def test_serve_exits_with_a_one_line_error_if_a_port_is_taken(sandbox):
    env = build_environment(sandbox, URL(sandbox.origin).port, free_port())
    code, output = await run_command(*playgate("serve"), env=env)

    assert code == 1
    assert (
        output.splitlines()[-1]
        == f"cannot listen on {URL(sandbox.origin).authority}: Address already in use; "
        "change web.listen or operator.listen, or stop the server on that port"
    )
    assert "Traceback" not in output


async def test_no_secret_appears_in_the_log_or_in_responses(sandbox):
    """Sends valid and invalid requests, then searches the responses and the process' output."""
    async with run_serve(sandbox) as (edge, session, player, operator):
        token = await mint_token(session, operator)
        base, responses = f"http://127.0.0.1:{player}", []
        for path in (
            f"/play/x8demo1.m3u8?token={token}", f"/play/x8null.m3u8?token={token}",
            f"/play/x8demo1.m3u8?token={token}&token=b", f"/watch/x8demo1?token={token}",
            f"/play/x8demo1.m3u8?token={token[:-3]}", f"/{token}",
        ):  # fmt: skip
            async with session.get(base + path, allow_redirects=False) as response:
                responses.append(await response.text())
                headers = {k: v for k, v in response.headers.items() if k != "Location"}
                responses.append(str(headers))
        private = await mint_token(session, operator, "k8demoPrivateKnownToYou")
        url = f"{base}/play/k8demoPrivateKnownToYou.m3u8?token={private}"
        async with session.get(url, allow_redirects=False) as response:
            assert response.status == 302
            stream = response.headers["Location"]
        for line in (
            f"GET /play/x8demo1.m3u8?token={token} HTTP/9.9",
            f"G\x01T /?token={token} HTTP/1.1",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", player)
            writer.write(f"{line}\r\nHost: x\r\n\r\n".encode())
            responses.append((await asyncio.wait_for(reader.read(), 20)).decode())
            writer.close()
            await writer.wait_closed()
        await edge.wait_for_output('"event": "bad-request"')
        for path in ("/metrics", "/readyz", f"/auth?token={token}"):
            async with session.get(f"http://127.0.0.1:{operator}{path}") as response:
                responses.append(await response.text())
        await edge.stop()

    secrets = [
        *SECRETS,
        token.split(".")[2],
        private.split(".")[2],
        URL(stream).query["sec"][:40],
        "PrivateKnownToYou",
        *sandbox.accounts.access_tokens,
    ]
    for secret in secrets:
        assert secret not in edge.output
        assert secret not in "".join(responses)


async def test_every_url_and_command_that_the_demo_prints_works_and_ctrl_c_stops_it(tmp_path):
    ports = [free_port() for _ in range(3)]
    options = [
        f"--{name}={port}"
        for name, port in zip(("port", "operator-port", "sandbox-port"), ports, strict=True)
    ]
    async with (
        run_process(*playgate("demo", *options), cwd=tmp_path) as demo,
        aiohttp.ClientSession() as session,
    ):
        text = await demo.wait_for_output("Ctrl-C stops it")
        page = re.search(r"Open +(\S+)", text)[1]
        play = re.search(r"Paste +(\S+)", text)[1]
        async with session.get(play) as response:
            assert response.status == 200
            assert (await response.text()).startswith("#EXTM3U")
        async with session.get(page) as response:
            html = await response.text()
        for video in re.findall(r"/open/(\w+)", html):
            async with session.get(f"{page}open/{video}", allow_redirects=False) as response:
                assert response.headers["Location"].startswith(
                    f"http://127.0.0.1:{ports[0]}/watch/{video}#ey"
                )
        # in a second terminal, as printed
        mint_command = re.search(r"Mint +(.+)\n", text)[1]
        url = (await run_script(mint_command, tmp_path)).strip()
        assert url.startswith(f"http://127.0.0.1:{ports[0]}/play/x8live1.m3u8?token=")
        async with session.get(url, allow_redirects=False) as response:
            assert response.status == 302
        curl = re.search(r"curl -si '(\S+)'\n +(302 Found), Location: (\S+)…", text)
        async with session.get(curl[1], allow_redirects=False) as response:
            assert (response.status, response.reason) == (302, "Found")
            assert response.headers["Location"].startswith(curl[3])
        code = await demo.stop(signal.SIGINT)

    assert code == 0
    assert demo.output.endswith("stopped\n")
    assert "Traceback" not in demo.output


async def test_a_second_demo_says_which_port_is_taken(sandbox):
    code, output = await run_command(
        *playgate(
            "demo",
            f"--sandbox-port={URL(sandbox.origin).port}",
            f"--port={free_port()}",
            f"--operator-port={free_port()}",
        )
    )

    assert code == 1
    assert "Traceback" not in output
    taken = URL(sandbox.origin).authority
    assert (
        f"cannot listen on {taken}: Address already in use; choose other ports: playgate demo"
        in output
    )


async def test_stopping_an_edge_behind_nginx_under_load_causes_no_player_errors(
    component, tmp_path
):
    """Two edges serve players without pause; each edge in turn is stopped and started again."""
    program = component("nginx")
    players, operators = [free_port(), free_port()], [free_port(), free_port()]
    trust = {"PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]'}
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(run_test_sandbox())
        nginx = await stack.enter_async_context(
            run_deployed_nginx(program, tmp_path, players, operators)
        )

        async def start(n: int) -> Process:
            env = build_environment(sandbox, players[n], operators[n]) | trust
            edge = await stack.enter_async_context(run_process(*playgate("serve"), env=env))
            await edge.wait_for_output('"event": "serving"')
            return edge

        edges = [await start(0), await start(1)]
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        token = await mint_token(session, operators[0])
        url = f"{nginx.origin}/play/x8demo1.m3u8?token={token}"
        statuses: Counter[object] = Counter()
        stop = asyncio.Event()

        async def play_until_stopped() -> None:
            while not stop.is_set():
                try:
                    async with session.get(url, allow_redirects=False) as response:
                        statuses[response.status] += 1
                except aiohttp.ClientError as error:
                    statuses[repr(error)] += 1

        async def wait_for_more_plays() -> None:
            target = statuses.total() + 300
            await wait_until(lambda: statuses.total() > target, seconds=60)

        viewers = [asyncio.create_task(play_until_stopped()) for _ in range(16)]
        for n in (0, 1, 0):
            await wait_for_more_plays()
            assert await edges[n].stop() == 0
            await wait_for_more_plays()
            edges[n] = await start(n)
        await wait_for_more_plays()
        stop.set()
        await asyncio.gather(*viewers)

    assert set(statuses) == {302}, statuses


async def test_a_signal_during_startup_stops_the_edge_cleanly():
    stop = create_stop_event()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await stop.wait()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second signal ends it at once
