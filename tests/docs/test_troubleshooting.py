"""The commands of docs/troubleshooting.md find the causes that the page promises."""

import re

from documentation import read_code_blocks, run_script
from processes import EdgeProcess, build_edge_environment
from support import ROOT, SANDBOX_TOML

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
COMMANDS = read_code_blocks(PAGE, "sh")


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
        **edge.env,
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{edge.player}",
        "PLAYGATE_WEB__PUBLIC_URL": f"http://127.0.0.1:{edge.player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{edge.operator}",
        "PLAYGATE_STATE__TIMEOUT": "5",
    }

    async def run(command: str, **variables: str) -> str:
        script = command.replace(":8081", f":{edge.operator}")
        return await run_script(script, tmp_path, env={**env, **variables})

    doctor, request, explain, search_log, health, check_config = COMMANDS
    async with edge.stack:
        await edge.start(PLAYGATE_WEB__PUBLIC_URL=env["PLAYGATE_WEB__PUBLIC_URL"])
        output = await run(doctor.replace("ID", "x8demo1").replace("ADDRESS", "8.8.4.4"))
        assert re.search(r"^ok +stream", output, re.MULTILINE), output

        url = await run("playgate token mint --video x8demo1 --url --config playgate.toml")
        output = await run(request, URL=url.strip())
        assert output.startswith("HTTP/1.1 302 Found\r\n")
        output = await run(explain, URL=url.strip())
        assert re.search(r"^ok +signature", output, re.MULTILINE), output

        output = await run(request, URL=url.strip()[:-4] + "AAAA")
        assert output.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "X-Deny-Reason: token-signature\r\n" in output
        request_id = re.search(r"^X-Request-Id: (\S+)", output, re.MULTILINE)[1]
        await edge.process.wait_for_output(request_id)
        (tmp_path / "log").write_text(edge.process.output)
        line = search_log.replace("journalctl -u 'playgate@*' -o cat", "cat log")
        output = await run(line.replace("REQUEST-ID", request_id))
        assert '"viewer": "127.0.0.1"' in output

        output = await run(health)
        assert output.startswith("HTTP/1.1 200 OK\r\n")
        output = await run(check_config)
        assert "error" not in output
