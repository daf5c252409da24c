"""Where settings come from besides the file: the environment, and secret files.

Both name a setting like PLAYGATE_PLATFORM__API_SECRET, in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource

from proxy.settings.schema import ENV_PREFIX, Settings

# Where to look, rather than what to set; so they are no settings.
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
SYSTEMD_VARIABLE = "CREDENTIALS_DIRECTORY"


# Without --config and CONFIG_VARIABLE: the first of these that exists.
DEFAULT_FILES = (Path("playgate.toml"), Path("/etc/playgate/playgate.toml"))


def default_file() -> Path | None:
    """Return the settings file that is used if none is named."""
    return next((path for path in DEFAULT_FILES if path.is_file()), None)


class Environment(EnvSettingsSource):
    """The variables. A list that is not JSON stays a text, and is then refused by its key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what JSON says, or the text itself."""
        return _decoded(super().decode_complex_value, field_name, field, value)


class SecretFiles(NestedSecretsSettingsSource):
    """The files of a folder, one for each setting."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what JSON says, or the text itself."""
        return _decoded(super().decode_complex_value, field_name, field, value)


def secrets_folder() -> str | None:
    """Return the folder of secret files, if there is one."""
    return os.environ.get(SECRETS_VARIABLE) or os.environ.get(SYSTEMD_VARIABLE)


def secret_names() -> list[str]:
    """Return the names of the secret files."""
    folder = Path(secrets_folder() or os.devnull)
    return [file.name for file in folder.iterdir()] if folder.is_dir() else []


def unreadable_secret() -> str:
    """Return the name of the secret file that is not UTF-8 text."""
    for file in sorted(Path(secrets_folder() or os.devnull).iterdir()):
        try:
            file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return file.name
        except OSError:
            continue
    return "one of them"


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
