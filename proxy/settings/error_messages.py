"""Turn validation errors into sentences with the setting, its place and the next step."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from proxy.domain.validation_messages import format_message
from proxy.settings.schema import ENV_PREFIX, Settings
from proxy.settings.sources import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    VARIABLES,
    Problem,
    find_field,
    find_model,
    list_secret_names,
)

Location = tuple[int | str, ...]  # such as ("tokens", "keys", 0, "alg")
MIN_SIMILARITY = 0.85  # of a variable's name, whose prefix alone makes any two of them alike
PLACEHOLDERS = frozenset({"…", "..."})  # as the documentation writes them
MAX_SEARCHED_LINES = 500  # of a settings file; beyond them no line is named


def describe_errors(error: ValidationError) -> Iterator[Problem]:
    """Yield each problem of a validation, by the setting's name."""
    for line in error.errors(include_url=False, include_input=False):
        location, kind = line["loc"], line["type"]
        match kind:
            case "extra_forbidden":
                text = "is not a setting" + _suggest_name(location)
            case "tuple_type":
                text = f"must be a list{_format_list_example(location)}"
            case _:
                text = format_message(kind, line["msg"], line.get("ctx", {}))
        yield format_name(location), text


def find_placeholders(values: Any, location: Location = ()) -> Iterator[Problem]:
    """Yield the settings that still have the placeholder of the documentation."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from find_placeholders(value, (*location, str(name)))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from find_placeholders(value, (*location, index))
    elif isinstance(values, str) and values.strip() in PLACEHOLDERS:
        yield (
            format_name(location),
            f"is the placeholder {values.strip()}: put the real value there",
        )


def describe_unknown_variable(name: str) -> Problem:
    """Return the problem of a variable or secret file that names no setting."""
    known = [*VARIABLES, CONFIG_VARIABLE, SECRETS_VARIABLE]
    if whole := next((it for it in VARIABLES if name.upper().startswith(f"{it}__")), None):
        return name, f"is not a setting; set {whole} as a whole"
    by_single = {it.replace("__", "_"): it for it in known if "__" in it}
    if found := by_single.get(name.upper()):
        return name, f"is not a setting; did you mean {found}, with two underscores?"
    others = [variable for variable in known if variable != name.upper()]
    near = difflib.get_close_matches(name.upper(), others, n=1, cutoff=MIN_SIMILARITY)
    return name, "is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def describe_toml_error(message: str) -> str:
    """Return the parser's message without Python's notation, and with the most likely cause."""
    if twice := re.match(r"Cannot declare \((.*?),?\) twice (.*)", message):
        table = ".".join(re.findall(r"'(.*?)'", twice[1]))
        return f"[{table}] is there twice, put its settings into one {twice[2]}"
    if message.startswith("Invalid value"):
        return message.replace("Invalid value", "a value cannot be read, texts need quotes")
    return message


def format_name(location: Location) -> str:
    """Return a setting's name as messages have it, such as tokens.keys[0].alg."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _suggest_name(location: Location) -> str:
    *above, name = location
    if above and name in Settings.model_fields:
        is_table = find_model(Settings.model_fields[str(name)]) is not None
        place = (
            f"under [{name}]{_suggest_placement(location)}" if is_table else "above the first table"
        )
        return f": put it {place}"
    tables = _find_tables_with(str(name))
    near = difflib.get_close_matches(
        str(name), list((find_model(find_field(above)) or Settings).model_fields), n=1
    )
    if near and not tables:
        return f"; did you mean {near[0]}?"
    meant = " or ".join(f"{table}.{name}" for table in tables)
    if len(tables) == 1:
        return (
            f" here; did you mean {meant}? Put it under [{tables[0]}]{_suggest_placement(location)}"
        )
    return f" here; did you mean {meant}?" if tables else ""


def _suggest_placement(location: Location) -> str:
    """Return where to put what was appended to the file, and so belongs to its last table."""
    first = next((index for index, step in enumerate(location) if isinstance(step, int)), 0)
    return f", above [[{format_name(location[:first])}]]" if first else ""


def _format_list_example(location: Location) -> str:
    field = find_field(location)
    if (entry := find_model(field)) is not None:
        required = [name for name, it in entry.model_fields.items() if it.is_required()]
        members = required or list(entry.model_fields)[:1]
        table = json.dumps([dict.fromkeys(members, "…")], ensure_ascii=False)
        return f" of tables: [[{format_name(location)}]] in the file, {table} in the environment"
    example = list(field.default) if field is not None and field.default else ["…"]
    return f" such as {json.dumps(example, ensure_ascii=False)}"


def _find_tables_with(name: str) -> list[str]:
    return [
        table
        for table, field in Settings.model_fields.items()
        if (model := find_model(field)) is not None and name in model.model_fields
    ]


def find_place(location: Location, text: str) -> str:
    """Return where a value comes from, a variable or a line; empty if nothing gives it."""
    if name := find_variable(location, list(os.environ)):
        return name
    if name := find_variable(location, list_secret_names()):
        return f"secret file {name}"
    entry = max(
        (count for count, step in enumerate(location, 1) if isinstance(step, int)), default=0
    )
    line = find_line(location, text) or find_line(location[:entry], text)
    return f"line {line}" if line else ""


def parse_name(name: str) -> Location:
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
    return next(
        (line for line, values in _list_statement_starts(text) if _has_value(values, location)), 0
    )


@lru_cache(1)  # a file with many mistakes, and a reload that tries it again and again
def _list_statement_starts(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Return what the file says up to the end of each statement, and where that begins."""
    lines = text.splitlines()
    found: list[tuple[int, Mapping[str, Any]]] = []
    begins = 1
    for count in range(1, min(len(lines), MAX_SEARCHED_LINES) + 1):
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


def _has_value(values: Any, location: Location) -> bool:
    for step in location:
        if isinstance(step, int):
            if not isinstance(values, list) or step >= len(values):
                return False
        elif not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
