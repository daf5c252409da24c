"""The commands of docs/troubleshooting.md find the causes that the page promises."""

import asyncio
import os
import re
import sys

from processes import EdgeProcess, build_edge_environment
from support import ROOT, SANDBOX_TOML

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*)\n```", PAGE, re.MULTILINE)


def test_the_page_has_exactly_these_commands():
    assert [" ".join(command.split()[:2]) for command in COMMANDS] == [
        "playgate doctor",
        "curl -si",
        "playgate token",
        "journalctl -u",
        "curl -si",
        "playgate check-config",
    ]


async def test_the_commands_of_the_page_work(sandbox, tmp_path):
    edge = EdgeProcess(build_edge_environment(sandbox))
    (tmp_path / "playgate.toml").write_text(SANDBOX_TOML.read_text())
    env = {
        **os.environ,
        **edge.env,
        "PYTHONPATH": str(ROOT),
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{edge.player}",
        "PLAYGATE_WEB__PUBLIC_URL": f"http://127.0.0.1:{edge.player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{edge.operator}",
        "PLAYGATE_STATE__TIMEOUT": "5",
    }

    async def run(command: str, **variables: str) -> tuple[int, str]:
        text = command.replace("playgate ", f"{sys.executable} -m proxy ", 1)
        process = await asyncio.create_subprocess_shell(
            text.replace(":8081", f":{edge.operator}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env={**env, **variables},
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    doctor, request, explain, search_log, health, check_config = COMMANDS
    async with edge.stack:
        await edge.start(PLAYGATE_WEB__PUBLIC_URL=env["PLAYGATE_WEB__PUBLIC_URL"])
        code, output = await run(doctor.replace("ID", "x8demo1").replace("ADDRESS", "8.8.4.4"))
        assert code == 0, output
        assert re.search(r"^ok +stream", output, re.MULTILINE), output

        _, url = await run("playgate token mint --video x8demo1 --url --config playgate.toml")
        code, output = await run(request, URL=url.strip())
        assert output.startswith("HTTP/1.1 302 Found\r\n")
        code, output = await run(explain, URL=url.strip())
        assert code == 0 and re.search(r"^ok +signature", output, re.MULTILINE), output

        code, output = await run(request, URL=url.strip()[:-4] + "AAAA")
        assert output.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "X-Deny-Reason: token-signature\r\n" in output
        request_id = re.search(r"^X-Request-Id: (\S+)", output, re.MULTILINE)[1]
        await edge.process.wait_for_output(request_id)
        (tmp_path / "log").write_text(edge.process.output)
        line = search_log.replace("journalctl -u 'playgate@*' -o cat", "cat log")
        code, output = await run(line.replace("REQUEST-ID", request_id))
        assert code == 0 and '"viewer": "127.0.0.1"' in output

        code, output = await run(health)
        assert output.startswith("HTTP/1.1 200 OK\r\n")
        code, output = await run(check_config)
        assert (code, "error" in output) == (0, False), output
