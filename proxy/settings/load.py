"""Read the settings from everywhere they may stand, and say everything that is wrong at once."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_settings import SettingsError

from proxy.settings.rules import Problem, problems_between
from proxy.settings.schema import ENV_PREFIX, Settings

# Where to look, rather than what to set; so they are no settings.
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
SYSTEMD_VARIABLE = "CREDENTIALS_DIRECTORY"


class SettingsInvalid(Exception):
    """The settings cannot be used; every problem is in here, and no value is."""

    def __init__(self, problems: Iterable[Problem], *, source: Path | None) -> None:
        self.problems = sorted(dict.fromkeys(problems))
        self.source = source
        count = len(self.problems)
        where = f"{source}: " if source is not None else ""
        heading = f"{where}{count} error{'s' if count != 1 else ''} in the settings"
        super().__init__("\n".join([heading, *(f"  {key}: {text}" for key, text in self.problems)]))


def load_settings(path: Path | None, **overrides: Any) -> Settings:
    """Return the settings of a file, the secret files and the environment, the last the strongest.

    Args:
        path: a TOML file, None for defaults alone.
        overrides: whole tables that a command sets instead of the file.

    Raises:
        SettingsInvalid: with every problem there is.
    """
    try:
        values = {} if path is None else tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid([("(file)", f"is not TOML: {error}")], source=path) from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise SettingsInvalid([("(file)", f"cannot be read: {reason}")], source=path) from None

    unknown = list(_unknown_variables(os.environ))
    secrets = os.environ.get(SECRETS_VARIABLE) or os.environ.get(SYSTEMD_VARIABLE)
    try:
        settings = _CheckedSettings(_secrets_dir=secrets, **_merged(values, overrides))  # type: ignore[call-arg]  # pydantic-settings' own argument
    except ValidationError as error:
        raise SettingsInvalid([*unknown, *_problems_of(error)], source=path) from None
    except SettingsError as error:
        raise SettingsInvalid([*unknown, _unreadable(error)], source=path) from None
    except _BetweenSettings as between:
        raise SettingsInvalid([*unknown, *between.problems], source=path) from None
    if unknown:
        raise SettingsInvalid(unknown, source=path)
    return settings


class _BetweenSettings(Exception):
    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


class _CheckedSettings(Settings):
    """The settings, with the rules between them applied to the merged sources."""

    @model_validator(mode="wrap")
    @classmethod
    def _apply_rules(cls, raw: Mapping[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems = list(problems_between(raw))
        tables: dict[str, Any] = {name: {} for name in cls.model_fields if name != "sandbox"}
        try:
            settings = handler({**tables, **raw})  # what has no default is missed in its table
        except ValidationError as error:
            raise _BetweenSettings([*problems, *_problems_of(error)]) from None
        if problems:
            raise _BetweenSettings(problems)
        return settings


def _merged(values: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for table, members in overrides.items():
        values[table] = {**values.get(table, {}), **members}
    return values


def _problems_of(error: ValidationError) -> Iterator[Problem]:
    for line in error.errors(include_url=False, include_input=False):
        location = line["loc"]
        yield _key(location), _sentence(line["type"], line["msg"], location)


def _unreadable(error: SettingsError) -> Problem:
    """Name the table whose variable or secret file is not the JSON that a list must be."""
    table = re.search(r'field "(\w+)"', str(error))
    if table is None:
        return "(secret files)", str(error)
    return table[1], f"a value in {ENV_PREFIX}{table[1].upper()}__… is not JSON"


def _sentence(kind: str, message: str, location: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _names_beside(location), n=1)
        return "is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for step in location[:-1]:
        if isinstance(step, int):
            continue
        annotation = model.model_fields[step].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(
            kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
    return list(model.model_fields)


def _key(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the variables with our prefix that the sources would pass over in silence."""
    for name in environ:
        first = name.removeprefix(ENV_PREFIX).split("__")[0].lower()
        if not name.startswith(ENV_PREFIX) or name in {CONFIG_VARIABLE, SECRETS_VARIABLE}:
            continue
        if first not in Settings.model_fields:
            yield name, "is not a setting"
