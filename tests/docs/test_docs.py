"""The documents are correct: their commands run, their links and names exist."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
from documentation import read_code_blocks, run_script
from ports import free_port
from processes import playgate, run_command, run_process
from support import ROOT, SANDBOX_TOML, run_test_edge, skip_or_fail

DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TOKENS_PAGE = (ROOT / "docs" / "tokens.md").read_text()
SANDBOX_PAGE = (ROOT / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_link_has_a_target(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [
            re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings
        ], target


def test_no_file_names_a_package_registry():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    registries = re.compile(r"https?://[\w.-]*(pypi|pythonhosted|npmjs|packagist|debian)\.\w+")
    for name in tracked.stdout.splitlines():
        text = (ROOT / name).read_bytes().decode(errors="replace")
        assert registries.search(text) is None, name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_file_named_in_a_document_exists(path):
    folders = "proxy|config|tests|deploy|docs"
    names = re.findall(rf"(?<![\w./-])((?:{folders})/[\w./@-]*\w)", path.read_text())

    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_setting_named_in_a_document_exists(path):
    tables = {
        name: set(members)
        for name, members in tomllib.loads((ROOT / "config/playgate.toml").read_text()).items()
        if isinstance(members, dict)
    }
    for table, name in re.findall(rf"`({'|'.join(tables)})\.(\w+)`", path.read_text()):
        assert name in tables[table], f"{table}.{name}"


async def test_the_python_snippet_mints_a_token_that_plays(edge, tmp_path):
    (snippet,) = read_code_blocks(TOKENS_PAGE, "python")
    code, printed = await run_command(sys.executable, "-c", snippet)
    assert code == 0, printed
    token = printed.strip().partition("token=")[2]
    assert (await edge.get(edge.play_url(token=token))).status == 302
    assert edge.lines()[-1]["subject"] == "viewer-7"


async def test_the_node_snippet_mints_a_token_that_plays(component, edge):
    node = component("node")
    (snippet,) = read_code_blocks(TOKENS_PAGE, "js")
    modules = ROOT / "npm" / "node_modules"
    if not (modules / "jsonwebtoken").exists():
        skip_or_fail("npm ci was not run in npm/")
    code, printed = await run_command(node, "-e", snippet, env={"NODE_PATH": str(modules)})
    assert code == 0, printed
    token = printed.strip().partition("token=")[2]
    assert (await edge.get(edge.play_url(token=token))).status == 302
    assert edge.lines()[-1]["subject"] == "viewer-7"


async def test_every_shell_command_of_the_tokens_page_works(sandbox, tmp_path):
    """The demo's ports in the commands are replaced by those of an edge on free ports."""
    keys = tmp_path / "keys.json"
    (tmp_path / "playgate.toml").write_text(
        SANDBOX_TOML.read_text().replace(
            "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]'
        )
    )

    await run_script("playgate keys generate --config playgate.toml", tmp_path)  # to rotate out
    async with run_test_edge(sandbox) as edge:
        for line in "".join(read_code_blocks(TOKENS_PAGE, "sh")).splitlines():
            words = line.replace("http://127.0.0.1:8081", edge.operator)
            words = words.replace("config/sandbox.toml", str(SANDBOX_TOML))
            words = words.replace(" TOKEN ", f" {edge.mint(subject='v')} ")
            if " KID " in words:  # first the key to retire, then the remaining key
                kid = json.loads(keys.read_text())["keys"][-1]["kid"]
                words = words.replace(" KID ", f" {kid} ")
            out = await run_script(words, tmp_path)
            if line.startswith("curl") and "/tokens" in line:
                assert (await edge.get(edge.play_url(token=json.loads(out)["token"]))).status == 302
            elif line.startswith("curl"):
                assert json.loads(out)["sub"] == "viewer-9"
    assert len(json.loads(keys.read_text())["keys"]) == 2
    (public,) = json.loads((tmp_path / "jwks.json").read_text())["keys"]
    assert public["alg"] == "ES256" and "d" not in public


async def test_the_documented_settings_of_a_second_edge_work_with_the_sandbox(
    sandbox, edge, tmp_path
):
    (settings,) = read_code_blocks(SANDBOX_PAGE, "toml")
    player, operator = free_port(), free_port()
    text = settings.replace("127.0.0.1:8090", sandbox.origin.removeprefix("http://"))
    text = text.replace(":9180", f":{player}").replace(":9181", f":{operator}")
    (tmp_path / "own.toml").write_text(text)
    blocks = read_code_blocks(SANDBOX_PAGE, "sh")
    command = next(block for block in blocks if "own.toml" in block).split()
    mint = "playgate token mint --config own.toml --video x8demo1 --url"
    async with run_process(*playgate(*command[1:]), cwd=tmp_path) as process:
        await process.wait_for_output('"serving"')
        url = await run_script(mint, tmp_path)
        assert (await edge.get(url.strip())).status == 302
        output = await run_script("playgate doctor --config own.toml --video x8demo1", tmp_path)
        assert "All checks passed." in output, output


async def test_the_documented_fault_commands_break_and_restore_plays(sandbox, edge, tmp_path):
    blocks = read_code_blocks(SANDBOX_PAGE, "sh")
    (faults,) = [block for block in blocks if "__faults" in block]
    inject, clear = faults.replace("http://127.0.0.1:8090", sandbox.origin).splitlines()
    await run_script(inject, tmp_path)
    assert (await edge.play()).reason == "platform-unreachable"
    await run_script(clear, tmp_path)
    assert (await edge.play()).status == 302


def test_no_product_file_is_longer_than_250_lines():
    long_files = {
        str(path): lines
        for path in ROOT.glob("proxy/**/*.py")
        if (lines := len(path.read_text().splitlines())) > 250
    }

    assert long_files == {}


def test_the_readme_names_every_make_target():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {
        "components"
    }
    readme = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()

    assert [target for target in targets if f"make {target}" not in readme] == []


def test_make_test_runs_a_test_with_each_front_door_prometheus_and_real_players():
    marked = {
        path.parent.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if "\n@pytest.mark.smoke\n" in path.read_text()
    }

    assert marked == {"caddy", "deploy", "nginx", "players"}


def test_every_dependency_is_documented_with_its_version():
    """Each dependency has a row in docs/decisions.md with its tested version and the reason for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = {re.split(r"[<>=]", entry)[0] for entry in project["dependencies"]}
    pinned = dict(
        re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )
    pinned |= {name.replace("_", "-"): version for name, version in pinned.items()}
    rows = re.findall(r"^\| ([\w.-]+)(?: \(npm\))? \| ([\d.]+) \| .{20,} \| .{5,} \|$", (ROOT / "docs/decisions.md").read_text(), re.MULTILINE)  # fmt: skip
    documented = {name: version for name, version in rows if name != "hls.js"}

    assert documented == {name: pinned[name] for name in dependencies}
    npm = json.loads((ROOT / "npm/package.json").read_text())["dependencies"]
    assert dict(rows)["hls.js"] == npm["hls.js"]


async def test_the_shell_command_of_the_playing_page_works(edge, tmp_path):
    (command,) = read_code_blocks((ROOT / "docs/playing.md").read_text(), "sh")
    words = command.replace("http://127.0.0.1:8080", edge.player)
    words = words.replace("config/sandbox.toml", str(SANDBOX_TOML))
    printed = json.loads(await run_script(words, tmp_path))

    assert list(printed) == ["stream_hls_url", "stream_h264_hd_url"] and all(printed.values())
