"""Where a setting was given: the environment variable, the secret file, or the line of the file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from proxy.settings.schema import ENV_PREFIX
from proxy.settings.sources import secret_names

Location = tuple[int | str, ...]  # such as ("tokens", "keys", 0, "alg")

MAX_LINES = 500  # of a settings file; beyond them no line is named


def find_place(location: Location, text: str) -> str:
    """Return where a value comes from, empty if nothing gives it.

    Args:
        location: the setting, or an entry of it.
        text: the settings file, empty if there is none.
    """
    if name := find_variable(location, list(os.environ)):
        return name
    if name := find_variable(location, secret_names()):
        return f"secret file {name}"
    entry = max(
        (count for count, step in enumerate(location, 1) if isinstance(step, int)), default=0
    )
    line = find_line(location, text) or find_line(location[:entry], text)
    return f"line {line}" if line else ""


def location_of(name: str) -> Location:
    """Return the steps of a name such as tokens.keys[0].alg."""
    steps = re.findall(r"[^.\[\]]+|\[\d+\]", name)
    return tuple(int(step[1:-1]) if step.startswith("[") else step for step in steps)


def find_variable(location: Location, names: Sequence[str]) -> str:
    """Return which of these names, of variables or secret files, gives a setting, in any case."""
    by_upper = {name.upper(): name for name in names}
    steps = [str(step).upper() for step in location]
    for length in range(len(steps), 0, -1):
        if found := by_upper.get(ENV_PREFIX + "__".join(steps[:length])):
            return found
    return ""


def find_line(location: Location, text: str) -> int:
    """Return the line on which a value begins, 0 if it is not in the file.

    TOML's own parser decides: the value is there as soon as a beginning of the file has it.
    """
    if not location:
        return 0
    return next((line for line, values in _beginnings(text) if _has(values, location)), 0)


@lru_cache(1)  # a file with many mistakes, and a reload that tries it again and again
def _beginnings(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Return what the file says up to the end of each statement, and where that begins."""
    lines = text.splitlines()
    found: list[tuple[int, Mapping[str, Any]]] = []
    begins = 1
    for count in range(1, min(len(lines), MAX_LINES) + 1):
        values = _parse("\n".join(lines[:count]))
        if values is not None:  # else this is in the middle of a value of several lines
            found.append((begins, values))
            begins = count + 1
    return found


def _parse(text: str) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _has(values: Any, location: Location) -> bool:
    for step in location:
        if isinstance(step, int):
            if not isinstance(values, list) or step >= len(values):
                return False
        elif not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
