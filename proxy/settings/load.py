"""Read the settings from everywhere they may stand, and say everything that is wrong at once."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from proxy.settings.key_rules import Problem
from proxy.settings.rules import problems_between
from proxy.settings.schema import Settings
from proxy.settings.sources import Environment, SecretFiles, secrets_folder, unknown_names

# In place of pydantic's words, where those speak of Python.
PLAIN_SENTENCES = {
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "too_short": "must not be empty",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
}


class SettingsInvalid(Exception):
    """The settings cannot be used; every problem is in here, and no value is."""

    def __init__(self, problems: Iterable[Problem], *, source: Path | None) -> None:
        self.problems = sorted(dict.fromkeys(problems))
        self.source = source
        count = len(self.problems)
        where = f"{source}: " if source is not None else ""
        heading = f"{where}{count} error{'s' if count != 1 else ''} in the settings"
        lines = [f"  {key}: {text}" for key, text in self.problems]
        if source is None:
            lines.append("No settings file was read: name one with --config or PLAYGATE_CONFIG.")
        super().__init__("\n".join([heading, *lines]))


def load_settings(path: Path | None, *, for_edge: bool = True, **overrides: Any) -> Settings:
    """Return the settings of a file, the secret files and the environment, the last the strongest.

    Args:
        path: a TOML file, None for defaults alone.
        for_edge: whether what an edge cannot do without must be set.
        overrides: tables of what a command's options say, stronger than all of these.

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

    class Loaded(_CheckedSettings):
        """The settings of one load: overrides, environment, secret files, file."""

        _for_edge: ClassVar[bool] = for_edge

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings' signature
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings' signature
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings' signature
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                InitSettingsSource(settings_cls, overrides),
                Environment(settings_cls),
                SecretFiles(file_secret_settings),
                InitSettingsSource(settings_cls, values),
            )

    problems = [(name, "is not a setting") for name in unknown_names()]
    try:
        settings = Loaded(_secrets_dir=secrets_folder())  # type: ignore[call-arg]  # of pydantic-settings
    except _Problems as between:
        problems += between.problems
    except (SettingsError, UnicodeDecodeError) as error:
        what = "one is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        problems.append(("(secret files)", what))
    if problems:
        raise SettingsInvalid(problems, source=path)
    return settings


class _Problems(Exception):
    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


class _CheckedSettings(Settings):
    """The settings, with the rules between them applied to the merged sources."""

    _for_edge: ClassVar[bool]

    @model_validator(mode="wrap")
    @classmethod
    def _apply_rules(cls, raw: Mapping[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems = list(problems_between(raw, for_edge=cls._for_edge))
        tables: dict[str, Any] = {name: {} for name in cls.model_fields if name != "sandbox"}
        try:
            settings = handler({**tables, **raw})  # what has no default is missed in its table
        except ValidationError as error:
            raise _Problems([*problems, *_problems_of(error)]) from None
        if problems:
            raise _Problems(problems)
        return settings


def _problems_of(error: ValidationError) -> Iterator[Problem]:
    for line in error.errors(include_url=False, include_input=False):
        location = line["loc"]
        yield _key(location), _sentence(line["type"], line["msg"], location)


def _sentence(kind: str, message: str, location: tuple[int | str, ...]) -> str:
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _names_beside(location), n=1)
        return "is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    if kind in PLAIN_SENTENCES:
        return PLAIN_SENTENCES[kind]
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
