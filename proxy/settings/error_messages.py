"""Turn validation errors into messages: the setting, its place, the error and the next step."""

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
# Of variable names. High, because all of them share a prefix and so are similar to each other.
MIN_SIMILARITY = 0.85
PLACEHOLDERS = frozenset({"…", "..."})  # as used in the documentation
MAX_SEARCHED_LINES = 500  # of a settings file; errors further down are reported without a line


def describe_errors(error: ValidationError) -> Iterator[Problem]:
    """Yield each problem of a validation error, with the setting's name."""
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
    """Yield the settings whose value is still a placeholder from the documentation."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from find_placeholders(value, (*location, str(name)))
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            yield from find_placeholders(value, (*location, index))
    elif isinstance(values, str) and values.strip() in PLACEHOLDERS:
        yield (
            format_name(location),
            f"is still the placeholder {values.strip()}; replace it with the real value",
        )


def describe_unknown_variable(name: str) -> Problem:
    """Return the problem of an environment variable or secret file that matches no setting."""
    upper, known = name.upper(), [*VARIABLES, CONFIG_VARIABLE, SECRETS_VARIABLE]
    whole = next((variable for variable in VARIABLES if upper.startswith(f"{variable}__")), None)
    if whole is not None:
        return name, f"is not a setting; set the whole value with {whole}"
    by_single_underscores = {
        variable.replace("__", "_"): variable for variable in known if "__" in variable
    }
    if meant := by_single_underscores.get(upper):
        return name, f"is not a setting; did you mean {meant}, with two underscores?"
    others = [variable for variable in known if variable != upper]
    similar = difflib.get_close_matches(upper, others, n=1, cutoff=MIN_SIMILARITY)
    return name, "is not a setting" + (f"; did you mean {similar[0]}?" if similar else "")


def describe_toml_error(message: str) -> str:
    """Return the TOML parser's message without Python notation, with the most likely cause."""
    if twice := re.match(r"Cannot declare \((.*?),?\) twice (.*)", message):
        table = ".".join(re.findall(r"'(.*?)'", twice[1]))
        return f"[{table}] appears twice; merge the two tables {twice[2]}"
    if message.startswith("Invalid value"):
        return message.replace("Invalid value", "invalid value; put quotes around text")
    return message


def format_name(location: Location) -> str:
    """Return a setting's name in dotted form, such as tokens.keys[0].alg."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _suggest_name(location: Location) -> str:
    *parent, name = location
    if parent and name in Settings.model_fields:
        is_table = find_model(Settings.model_fields[str(name)]) is not None
        place = (
            f"under [{name}]{_suggest_placement(location)}" if is_table else "above the first table"
        )
        return f" of this table; move it {place}"
    tables = _find_tables_with(str(name))
    siblings = list((find_model(find_field(parent)) or Settings).model_fields)
    similar = difflib.get_close_matches(str(name), siblings, n=1)
    if similar and not tables:
        return f"; did you mean {similar[0]}?"
    meant = " or ".join(f"{table}.{name}" for table in tables)
    if len(tables) == 1:
        return (
            f" here; did you mean {meant}? "
            f"Move it under [{tables[0]}]{_suggest_placement(location)}"
        )
    return f" here; did you mean {meant}?" if tables else ""


def _suggest_placement(location: Location) -> str:
    """Return a hint to put the setting above a table array; empty if it is in none.

    A line appended to the file belongs to the file's last table, often [[tokens.keys]].
    """
    first = next((index for index, step in enumerate(location) if isinstance(step, int)), 0)
    return f", above [[{format_name(location[:first])}]]" if first else ""


def _format_list_example(location: Location) -> str:
    field = find_field(location)
    if (entry := find_model(field)) is not None:
        required = [name for name, member in entry.model_fields.items() if member.is_required()]
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
    """Return the variable, secret file or line that sets a value; empty if the value is not set."""
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
    """Split a name such as tokens.keys[0].alg into its steps; the inverse of `format_name`."""
    steps = re.findall(r"[^.\[\]]+|\[\d+\]", name)
    return tuple(int(step[1:-1]) if step.startswith("[") else step for step in steps)


def find_variable(location: Location, names: Sequence[str]) -> str:
    """Return the variable or secret file, of these names in any case, that sets a setting."""
    by_upper = {name.upper(): name for name in names}
    steps = [str(step).upper() for step in location]
    for length in range(len(steps), 0, -1):
        if name := by_upper.get(ENV_PREFIX + "__".join(steps[:length])):
            return name
    return ""


def find_line(location: Location, text: str) -> int:
    """Return the line on which a value begins; 0 if the file does not contain the value.

    Parses ever longer beginnings of the file, until the parsed values include the value.
    """
    if not location:
        return 0
    return next(
        (line for line, values in _list_statement_starts(text) if _has_value(values, location)), 0
    )


@lru_cache(1)  # called for each error of a file, and by each reload of an invalid file
def _list_statement_starts(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Return each statement's first line, with the values of the file up to its end."""
    lines = text.splitlines()
    statements: list[tuple[int, Mapping[str, Any]]] = []
    first_line = 1
    for count in range(1, min(len(lines), MAX_SEARCHED_LINES) + 1):
        values = _parse("\n".join(lines[:count]))
        if values is not None:  # None in the middle of a value of several lines
            statements.append((first_line, values))
            first_line = count + 1
    return statements


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
