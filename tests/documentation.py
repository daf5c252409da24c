"""Read the code of documentation pages, and run their shell scripts."""

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from processes import run_command
from support import ROOT


def load_generator(name: str) -> ModuleType:
    """Import a script in docs/ that generates a page."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    return generator


def read_code_blocks(text: str, language: str) -> list[str]:
    """Return the fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


async def run_script(
    script: str, folder: Path, *, env: Mapping[str, str] | None = None, expected: int = 0
) -> str:
    """Run a shell script of the documentation in a folder; return its output.

    In the script, `playgate` is the command of this Python.

    Raises:
        AssertionError: the script ended with another exit code than expected.
    """
    function = f'playgate() {{ {sys.executable} -m proxy "$@"; }}'
    code, output = await run_command("sh", "-ec", f"{function}\n{script}", env=env, cwd=folder)
    assert code == expected, output
    return output
