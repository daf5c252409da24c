"""Where settings come from besides the file: the environment, and secret files.

Both name a setting like PLAYGATE_PLATFORM__API_SECRET, in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
)

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


class Environment(EnvSettingsSource):
    """The variables. A list that is not JSON stays a text, and is then refused by its key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what JSON says, or the text itself."""
        return _decoded(super().decode_complex_value, field_name, field, value)


class SecretFiles(NestedSecretsSettingsSource):
    """The files of a folder, one for each setting; other files there are left alone."""

    def __init__(self, source: PydanticBaseSettingsSource, texts: dict[str, str]) -> None:
        """Take the texts that `read_secret_files` read, by the name of the file."""
        self._texts = texts
        super().__init__(source)

    def load_secrets(self, path: Path) -> dict[str, str]:  # type: ignore[override]  # noqa: ARG002
        """Return what was read before."""
        return self._texts

    def validate_secrets_path(self, path: Path) -> None:
        """Accept it: `read_secret_files` says what is wrong."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what JSON says, or the text itself."""
        return _decoded(super().decode_complex_value, field_name, field, value)


def secrets_folder() -> str | None:
    """Return the folder of secret files, if there is one."""
    return os.environ.get(SECRETS_VARIABLE) or os.environ.get(SYSTEMD_VARIABLE)


def secret_files() -> list[Path]:
    """Return the secret files.

    Raises:
        OSError: their folder cannot be read.
    """
    folder = secrets_folder()
    files = sorted(Path(folder).iterdir()) if folder else []
    return [file for file in files if file.name.upper().startswith(ENV_PREFIX)]


def secret_names() -> list[str]:
    """Return the names of the secret files; none if their folder cannot be read."""
    try:
        return [file.name for file in secret_files()]
    except OSError:
        return []


def read_secret_files() -> tuple[dict[str, str], list[Problem]]:
    """Return the texts of the secret files by name, and what could not be read."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        files = secret_files()
    except OSError as error:
        variable = SECRETS_VARIABLE if os.environ.get(SECRETS_VARIABLE) else SYSTEMD_VARIABLE
        text = f"{secrets_folder()} ({variable}) cannot be read: {error.strerror}"
        return {}, [(FROM_FILES, text)]
    for file in files:
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
    for name in (*os.environ, *secret_names()):
        table = name.upper().removeprefix(ENV_PREFIX).split("__")[0].lower()
        ours = name.upper().startswith(ENV_PREFIX)
        if ours and name not in {CONFIG_VARIABLE, SECRETS_VARIABLE} and table not in TABLES:
            yield name


TABLES = frozenset(Settings.model_fields)


def _decoded(decode: Any, field_name: str, field: FieldInfo, value: Any) -> Any:
    try:
        return decode(field_name, field, value)
    except ValueError:
        return value
