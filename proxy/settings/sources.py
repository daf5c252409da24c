"""Where settings come from besides the file: the environment, and secret files.

Both name a setting like PLAYGATE_PLATFORM__API_SECRET, in any case.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.settings.checks import ENCODING
from proxy.settings.schema import ENV_PREFIX, Settings

Problem = tuple[str, str]  # the setting, and what is wrong with it

FROM_FILES = "(secret files)"  # in place of a setting's name

# Where to look, rather than what to set; so they are no settings.
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
SYSTEMD_VARIABLE = "CREDENTIALS_DIRECTORY"


# Without --config and CONFIG_VARIABLE: the first of these that exists.
DEFAULT_FILES = (Path("playgate.toml"), Path("/etc/playgate/playgate.toml"))


def default_file() -> Path | None:
    """Return the settings file that is used if none is named; what cannot be read counts, too."""
    return next((path for path in DEFAULT_FILES if os.path.lexists(path)), None)


def _variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _variables(inner, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


VARIABLES = tuple(_variables(Settings, ENV_PREFIX))  # one for each setting


def values_of(variables: Mapping[str, str]) -> dict[str, Any]:
    """Convert variables or secret files to the tables of a settings file.

    Lists and tables are JSON. Text that is not JSON stays text, and then fails validation.
    """
    values: dict[str, Any] = {}
    # A table comes before the settings in it.
    for name, text in sorted(variables.items(), key=lambda it: it[0].upper()):
        if steps := _steps_of(name):
            value = _decoded(text) if _is_structured(field_at(steps)) else text
            for step in reversed(steps):
                value = {step: value}
            values = merged(values, value)
    return values


def merged(weaker: Any, stronger: Any) -> Any:
    """Merge two sources, table by table; stronger values replace weaker ones."""
    if not isinstance(weaker, Mapping) or not isinstance(stronger, Mapping):
        return stronger
    common = {
        name: merged(weaker[name], stronger[name]) for name in weaker.keys() & stronger.keys()
    }
    return {**weaker, **stronger, **common}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def field_at(location: Iterable[int | str]) -> FieldInfo | None:
    """Return the setting or the table at a location; None if there is none."""
    model: type[BaseModel] | None = Settings
    field = None
    for step in location:
        if isinstance(step, int):
            continue
        field = None if model is None else model.model_fields.get(step)
        model = model_in(field)
    return field


def model_in(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return the model of a field that is a table or a list of tables."""
    annotation: Any = None if field is None else field.annotation
    inner = [annotation, *get_args(annotation)]
    models = (kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(models, None)


def _is_structured(field: FieldInfo | None) -> bool:
    is_list = field is not None and get_origin(field.annotation) is tuple
    return is_list or model_in(field) is not None


def secrets_folder() -> str | None:
    """Return the folder of secret files, if there is one."""
    return os.environ.get(SECRETS_VARIABLE) or os.environ.get(SYSTEMD_VARIABLE)


def secret_files() -> list[Path]:
    """Return the secret files; none if their folder cannot be read (see `read_secret_files`)."""
    files: list[Path] = []
    with suppress(OSError):
        files = sorted(Path(folder).iterdir()) if (folder := secrets_folder()) else []
    return [file for file in files if file.name.upper().startswith(ENV_PREFIX)]


def secret_names() -> list[str]:
    """Return the names of the secret files."""
    return [file.name for file in secret_files()]


def read_secret_files() -> tuple[dict[str, str], list[Problem]]:
    """Return the texts of the secret files by name, and what could not be read."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        if folder := secrets_folder():
            next(Path(folder).iterdir(), None)
    except OSError as error:
        variable = SECRETS_VARIABLE if os.environ.get(SECRETS_VARIABLE) else SYSTEMD_VARIABLE
        text = f"{folder} ({variable}) cannot be read: {error.strerror}"
        return {}, [(FROM_FILES, text)]
    for file in secret_files():
        try:
            if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe may never end
                problems.append((file.name, "cannot be read: it is no regular file"))
                continue
            texts[file.name] = file.read_text(encoding=ENCODING).strip()
        except OSError as error:
            problems.append((file.name, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            problems.append((file.name, "is not UTF-8 text"))
    return texts, problems


def unknown_names() -> Iterator[str]:
    """Yield the variables and secret files with our prefix that name no table of ours."""
    variables = [name for name in os.environ if name not in {CONFIG_VARIABLE, SECRETS_VARIABLE}]
    for name in (*variables, *secret_names()):
        if name.upper().startswith(ENV_PREFIX) and not _steps_of(name):
            yield name


def _steps_of(name: str) -> list[str]:
    """Split a name into table and setting; empty if it names neither."""
    steps = name.upper().removeprefix(ENV_PREFIX).lower().split("__")
    is_within = any(name.upper().startswith(f"{whole}__") for whole in VARIABLES)
    is_ours = name.upper().startswith(ENV_PREFIX) and steps[0] in Settings.model_fields
    return steps if is_ours and not is_within and "" not in steps else []
