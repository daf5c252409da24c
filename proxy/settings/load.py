"""Load the settings from all sources, and report every error at once."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from proxy.settings import key_file
from proxy.settings.cross_checks import check_settings
from proxy.settings.error_messages import (
    describe_errors,
    describe_toml_error,
    describe_unknown_variable,
    find_place,
    find_placeholders,
    parse_name,
)
from proxy.settings.schema import Settings
from proxy.settings.sources import (
    DEFAULT_FILES,
    SECRET_FILES_SOURCE,
    Problem,
    convert_variables,
    find_unknown_names,
    list_secret_names,
    merge,
    read_secret_files,
)
from proxy.settings.value_checks import ENCODING

NO_FILE_MESSAGE = (
    f"No settings file was found: {' and '.join(map(str, DEFAULT_FILES))} do not exist. "
    "Name one with --config or PLAYGATE_CONFIG."
)


class SettingsInvalid(Exception):
    """The settings cannot be used; every problem is in here, and no secret is.

    A problem's name has the place where the value was given, as in `web.listen (line 4)`.
    """

    def __init__(self, problems: Iterable[Problem], *, source: Path | None, text: str = "") -> None:
        placed = {_add_place(problem, text) for problem in problems}
        self.problems = sorted((name, sentence) for name, sentence, _ in placed)
        is_of_the_file = not all(is_elsewhere for _, _, is_elsewhere in placed)
        self.file = source
        self.source = source if is_of_the_file else None
        count = len(self.problems)
        where = f"{self.source}: " if self.source is not None else ""
        heading = f"{where}{count} error{'s' if count != 1 else ''} in the settings"
        lines = [f"  {name}: {sentence}" for name, sentence in self.problems]
        if source is None and is_of_the_file:
            lines.append(NO_FILE_MESSAGE)
        super().__init__("\n".join([heading, *lines]))


def _add_place(problem: Problem, text: str) -> tuple[str, str, bool]:
    """Return a problem with its place, and whether that is somewhere else than in the file."""
    name, sentence = problem
    if name == SECRET_FILES_SOURCE or name in list_secret_names():
        return (name if name == SECRET_FILES_SOURCE else f"secret file {name}"), sentence, True
    place = find_place(parse_name(name), text)
    is_elsewhere = bool(place) and not place.startswith("line ")
    return f"{name} ({place})" if place else name, sentence, is_elsewhere or name in os.environ


def load_settings(path: Path | None, *, for_edge: bool = True, **overrides: Any) -> Settings:
    """Return the settings of a file, the secret files and the environment, the last the strongest.

    Args:
        path: a TOML file, None for defaults alone.
        for_edge: whether what an edge cannot do without must be set.
        overrides: tables of what a command's options say, stronger than all of these.

    Raises:
        SettingsInvalid: with every problem there is; while a secret file cannot be read, with that
            alone and names that are no settings.
    """
    text = ""
    try:
        text = "" if path is None else _read(path)
        values = tomllib.loads(text)
    except UnicodeDecodeError:
        raise SettingsInvalid([("(file)", "is not UTF-8 text")], source=path) from None
    except tomllib.TOMLDecodeError as error:
        problem = ("(file)", f"is not TOML: {describe_toml_error(str(error))}")
        raise SettingsInvalid([problem], source=path) from None
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise SettingsInvalid([("(file)", f"cannot be read: {reason}")], source=path) from None

    problems = [describe_unknown_variable(name) for name in find_unknown_names()]
    secrets, unreadable = read_secret_files()
    if unreadable:
        raise SettingsInvalid([*problems, *unreadable], source=path, text=text)
    for stronger in (convert_variables(secrets), convert_variables(os.environ), overrides):
        values = merge(values, stronger)
    settings, found = _validate(values)
    named = [name for name, _ in found]
    between = check_settings(settings, for_edge=for_edge, file=path)
    found += [it for it in between if not _is_named(it[0], named)]
    if problems := [*problems, *_drop_consequences(found, list(find_placeholders(values)))]:
        raise SettingsInvalid(problems, source=path, text=text)
    return settings


def _read(path: Path) -> str:
    """Return a settings file's text. Below /dev it may be a pipe, as in `--config <(…)`."""
    if path.is_relative_to("/dev"):
        return path.read_text(encoding=ENCODING)
    return key_file.read_regular_file(path, encoding=ENCODING)


def _validate(values: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """Return the settings as far as each is good by itself, and what is wrong with the others."""
    tables: dict[str, Any] = {name: {} for name in Settings.model_fields if name != "sandbox"}
    placeholders = list(find_placeholders(values))
    try:
        # What has no default is missed in its table.
        return Settings.model_validate({**tables, **values}), placeholders
    except ValidationError as error:
        return keep_valid_part(values), [*placeholders, *describe_errors(error)]


def keep_valid_part(raw: Mapping[str, Any]) -> Settings:
    """Return settings with defaults in place of values that are wrong by themselves.

    So the rules between settings can be applied to a file with other mistakes.
    """
    sections = {
        name: _keep_valid_section(field.annotation, raw.get(name))
        for name, field in Settings.model_fields.items()
        if name != "sandbox"
    }
    try:
        sandbox = TypeAdapter(bool).validate_python(raw.get("sandbox", False))
    except ValidationError:
        sandbox = False
    return Settings.model_construct(sandbox=sandbox, **sections)


def _keep_valid_section(section: Any, values: Any) -> Any:
    given = values if isinstance(values, Mapping) else {}
    try:
        return section.model_validate(given)
    except ValidationError as error:
        wrong = {line["loc"][0] for line in error.errors() if line["loc"]}
        left = {name: value for name, value in given.items() if name not in wrong}
        return _keep_valid_section(section, left) if len(left) < len(given) else section()


def _is_named(name: str, named: Iterable[str]) -> bool:
    """Say whether a setting, its table or an entry of it is wrong by itself."""
    table = name.partition(".")[0]
    return any(it in {name, table} or it.startswith((f"{name}[", f"{name}.")) for it in named)


def _drop_consequences(problems: list[Problem], placeholders: list[Problem]) -> list[Problem]:
    """Leave out what is wrong with a value, or with its table, only because of a placeholder."""
    named = {name for name, _ in placeholders}
    entries = {name.rpartition(".")[0] for name in named if "[" in name}
    return [it for it in problems if it in placeholders or it[0] not in named | entries]
