"""Load the settings from all sources, and report all errors at once."""

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
    "Set the path of a settings file with --config or PLAYGATE_CONFIG."
)


class SettingsInvalid(Exception):
    """The settings are invalid; `problems` lists every error, without secret values.

    A problem's name includes the place where the value is set, as in `web.listen (line 4)`.
    """

    def __init__(self, problems: Iterable[Problem], *, source: Path | None, text: str = "") -> None:
        placed = {_add_place(problem, text) for problem in problems}
        self.problems = sorted((name, sentence) for name, sentence, _ in placed)
        concerns_file = not all(is_elsewhere for _, _, is_elsewhere in placed)
        self.file = source
        self.source = source if concerns_file else None
        count = len(self.problems)
        prefix = f"{self.source}: " if self.source is not None else ""
        heading = f"{prefix}{count} error{'s' if count != 1 else ''} in the settings"
        lines = [f"  {name}: {sentence}" for name, sentence in self.problems]
        if source is None and concerns_file:
            lines.append(NO_FILE_MESSAGE)
        super().__init__("\n".join([heading, *lines]))


def _add_place(problem: Problem, text: str) -> tuple[str, str, bool]:
    """Add where the value is set to a problem; return whether that is outside the settings file."""
    name, sentence = problem
    if name == SECRET_FILES_SOURCE or name in list_secret_names():
        return (name if name == SECRET_FILES_SOURCE else f"secret file {name}"), sentence, True
    place = find_place(parse_name(name), text)
    is_elsewhere = bool(place) and not place.startswith("line ")
    return f"{name} ({place})" if place else name, sentence, is_elsewhere or name in os.environ


def load_settings(path: Path | None, *, for_edge: bool = True, **overrides: Any) -> Settings:
    """Load the settings of a file, then the secret files, then the environment; the last one wins.

    Args:
        path: a TOML file; None for defaults only.
        for_edge: whether to require the settings that an edge needs.
        overrides: tables of settings from command-line options, which override all other sources.

    Raises:
        SettingsInvalid: with every problem. If a secret file cannot be read, with unreadable files
            and unknown names only.
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
        if isinstance(error, FileNotFoundError):
            reason += "; create it, or name another file with --config"
        raise SettingsInvalid([("(file)", f"cannot be read: {reason}")], source=path) from None

    problems = [describe_unknown_variable(name) for name in find_unknown_names()]
    secrets, unreadable = read_secret_files()
    if unreadable:
        raise SettingsInvalid([*problems, *unreadable], source=path, text=text)
    for stronger in (convert_variables(secrets), convert_variables(os.environ), overrides):
        values = merge(values, stronger)
    settings, errors = _validate(values)
    invalid_names = [name for name, _ in errors]
    cross_errors = check_settings(settings, for_edge=for_edge, file=path)
    errors += [error for error in cross_errors if not _is_reported(error[0], invalid_names)]
    if problems := [*problems, *_drop_consequences(errors, list(find_placeholders(values)))]:
        raise SettingsInvalid(problems, source=path, text=text)
    return settings


def _read(path: Path) -> str:
    """Read a settings file's text. A file below /dev may be a pipe, as in `--config <(…)`."""
    if path.is_relative_to("/dev"):
        return path.read_text(encoding=ENCODING)
    return key_file.read_regular_file(path, encoding=ENCODING)


def _validate(values: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """Validate each value on its own; return the settings and the errors of invalid values."""
    tables: dict[str, Any] = {name: {} for name in Settings.model_fields if name != "sandbox"}
    placeholders = list(find_placeholders(values))
    try:
        # Empty tables, so that a missing setting is reported by its own name.
        return Settings.model_validate({**tables, **values}), placeholders
    except ValidationError as error:
        return keep_valid_part(values), [*placeholders, *describe_errors(error)]


def keep_valid_part(raw: Mapping[str, Any]) -> Settings:
    """Return the settings with defaults in place of invalid values.

    The rules across settings can then be checked even if some values are invalid.
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
    members = values if isinstance(values, Mapping) else {}
    try:
        return section.model_validate(members)
    except ValidationError as error:
        invalid = {line["loc"][0] for line in error.errors() if line["loc"]}
        valid = {name: value for name, value in members.items() if name not in invalid}
        return _keep_valid_section(section, valid) if len(valid) < len(members) else section()


def _is_reported(name: str, invalid_names: Iterable[str]) -> bool:
    """Check whether a setting, its table or one of its entries is already reported as invalid."""
    table, entries = name.partition(".")[0], (f"{name}[", f"{name}.")
    return any(invalid in {name, table} or invalid.startswith(entries) for invalid in invalid_names)


def _drop_consequences(problems: list[Problem], placeholders: list[Problem]) -> list[Problem]:
    """Remove problems of a value, or of its table, that only a placeholder causes."""
    names = {name for name, _ in placeholders}
    names |= {name.rpartition(".")[0] for name in names if "[" in name}
    return [problem for problem in problems if problem in placeholders or problem[0] not in names]
