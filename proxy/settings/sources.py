"""Read settings from environment variables and secret files.

Both are named after a setting, as in PLAYGATE_PLATFORM__API_SECRET, in upper or lower case.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxy.settings.schema import ENV_PREFIX, Settings
from proxy.settings.value_checks import ENCODING

Problem = tuple[str, str]  # the setting's name and the error message

SECRET_FILES_SOURCE = "(secret files)"  # noqa: S105  # in place of a setting's name

# These variables contain paths of settings sources; they are not settings themselves.
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
SYSTEMD_VARIABLE = "CREDENTIALS_DIRECTORY"


# The first existing file is used if neither --config nor CONFIG_VARIABLE is set.
DEFAULT_FILES = (Path("playgate.toml"), Path("/etc/playgate/playgate.toml"))


def find_default_file() -> Path | None:
    """Return the first default settings file that exists, even if it cannot be read."""
    return next((path for path in DEFAULT_FILES if os.path.lexists(path)), None)


def _list_variables(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _list_variables(inner, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


VARIABLES = tuple(_list_variables(Settings, ENV_PREFIX))  # one variable for each setting


def convert_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    """Convert variables or secret files to the tables of a settings file.

    Lists and tables are decoded from JSON. Invalid JSON is kept as text, which fails validation.
    """
    values: dict[str, Any] = {}
    # Sorted, so that a single setting overrides its value in a variable with the whole table.
    for name, text in sorted(variables.items(), key=lambda item: item[0].upper()):
        if steps := _split_name(name):
            value = _decode_json(text) if _is_structured(find_field(steps)) else text
            for step in reversed(steps):
                value = {step: value}
            values = merge(values, value)
    return values


def merge(base: Any, override: Any) -> Any:
    """Merge two sources, table by table; a value in `override` replaces the value in `base`."""
    if not isinstance(base, Mapping) or not isinstance(override, Mapping):
        return override
    common = {name: merge(base[name], override[name]) for name in base.keys() & override.keys()}
    return {**base, **override, **common}


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def find_field(location: Iterable[int | str]) -> FieldInfo | None:
    """Return the setting or the table at a location; None if the location does not exist."""
    model: type[BaseModel] | None = Settings
    field = None
    for step in location:
        if isinstance(step, int):
            continue
        field = None if model is None else model.model_fields.get(step)
        model = find_model(field)
    return field


def find_model(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return the model of a field that is a table or a list of tables; None for other fields."""
    annotation: Any = None if field is None else field.annotation
    inner = [annotation, *get_args(annotation)]
    models = (kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(models, None)


def _is_structured(field: FieldInfo | None) -> bool:
    is_list = field is not None and get_origin(field.annotation) is tuple
    return is_list or find_model(field) is not None


def find_secrets_folder() -> str | None:
    """Return the folder of secret files; None if no variable sets it."""
    return os.environ.get(SECRETS_VARIABLE) or os.environ.get(SYSTEMD_VARIABLE)


def list_secret_files() -> list[Path]:
    """Return the secret files; empty if the folder cannot be read (see `read_secret_files`)."""
    files: list[Path] = []
    with suppress(OSError):
        files = sorted(Path(folder).iterdir()) if (folder := find_secrets_folder()) else []
    return [file for file in files if file.name.upper().startswith(ENV_PREFIX)]


def list_secret_names() -> list[str]:
    """Return the names of the secret files."""
    return [file.name for file in list_secret_files()]


def read_secret_files() -> tuple[dict[str, str], list[Problem]]:
    """Return the texts of the secret files by name, and a problem for each unreadable file."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        if folder := find_secrets_folder():
            next(Path(folder).iterdir(), None)
    except OSError as error:
        variable = SECRETS_VARIABLE if os.environ.get(SECRETS_VARIABLE) else SYSTEMD_VARIABLE
        text = f"{folder} ({variable}) cannot be read: {error.strerror}"
        return {}, [(SECRET_FILES_SOURCE, text)]
    for file in list_secret_files():
        try:
            # Reading a pipe could block for ever.
            if file.exists() and not (file.is_file() or file.is_dir()):
                problems.append((file.name, "cannot be read: it is not a regular file"))
                continue
            texts[file.name] = file.read_text(encoding=ENCODING).strip()
        except OSError as error:
            problems.append((file.name, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            problems.append((file.name, "is not UTF-8 text"))
    return texts, problems


def find_unknown_names() -> Iterator[str]:
    """Yield the variables and secret files with the prefix PLAYGATE_ that match no setting."""
    variables = [name for name in os.environ if name not in {CONFIG_VARIABLE, SECRETS_VARIABLE}]
    for name in (*variables, *list_secret_names()):
        if name.upper().startswith(ENV_PREFIX) and not _split_name(name):
            yield name


def _split_name(name: str) -> list[str]:
    """Split a variable's name into table and setting; empty if its table does not exist."""
    steps = name.upper().removeprefix(ENV_PREFIX).lower().split("__")
    is_part_of_setting = any(name.upper().startswith(f"{setting}__") for setting in VARIABLES)
    has_table = name.upper().startswith(ENV_PREFIX) and steps[0] in Settings.model_fields
    return steps if has_table and not is_part_of_setting and "" not in steps else []
