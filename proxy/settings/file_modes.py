"""Check which other users may write or read the files of settings and keys.

Checks only file modes, not owners: a container's files often belong to a user of the host.
"""

import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from proxy.settings.key_file import WRITABLE_BY_OTHERS
from proxy.settings.schema import Settings
from proxy.settings.sources import Problem, list_secret_files
from proxy.settings.value_checks import ENCODING

MAX_LINKS = 40  # symbolic links followed, as in Linux
SECRET_NAMES = frozenset({"secret", "api_secret", "password", "key"})


def find_writable_files(settings: Settings, settings_file: Path | None) -> Iterator[Problem]:
    """Yield the files that other users may write: they could insert a key that signs tokens."""
    for name, file in _list_files(settings, settings_file):
        if (mode := read_mode(file)) & WRITABLE_BY_OTHERS:
            writers = "every user of this machine" if mode & stat.S_IWOTH else "its group"
            yield name, f"{file} can be written by {writers}; run chmod go-w {file}"


def find_readable_files(settings: Settings, settings_file: Path | None) -> Iterator[Problem]:
    """Yield the files with secrets that every user of this machine may read."""
    for name, file in _list_files(settings, settings_file):
        is_secret = file != settings_file or _has_secret(_read_toml(file))
        if is_secret and read_mode(file) & stat.S_IROTH:
            yield name, f"{file} can be read by every user of this machine; run chmod 600 {file}"


def find_writable_folders(settings: Settings, settings_file: Path | None) -> Iterator[Problem]:
    """Yield the folders in which other users may replace one of the files.

    In folders with the sticky bit, such as /tmp, users can replace only their own files.
    """
    seen: set[Path] = set()
    for name, file in _list_files(settings, settings_file):
        for folder in _list_folders(file):
            mode = 0 if folder in seen else _read_folder_mode(folder)
            seen.add(folder)
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                problem = "can be written by every user of this machine"
                yield name, f"{folder} {problem}; run chmod o-w {folder}"


def _list_folders(file: Path) -> Iterator[Path]:
    """Yield all folders above a file, including those above each symbolic link to it."""
    with suppress(OSError):  # reported when the file is read
        for _ in range(MAX_LINKS):
            yield from file.absolute().parents
            if not file.is_symlink():
                yield from file.resolve().parents
                return
            file = file.parent / file.readlink()


def _read_folder_mode(folder: Path) -> int:
    try:
        return folder.stat().st_mode
    except OSError:
        return 0


def _list_files(settings: Settings, settings_file: Path | None) -> Iterator[tuple[str, Path]]:
    if settings_file is not None:
        yield "(file)", settings_file
    yield from ((file.name, file) for file in list_secret_files() if file.is_file())
    for index, token_key in enumerate(settings.tokens.keys):
        if token_key.file is not None:
            yield f"tokens.keys[{index}].file", token_key.file
    for index, seal_key in enumerate(settings.relay.keys):
        if seal_key.file is not None:
            yield f"relay.keys[{index}].file", seal_key.file
    if settings.tokens.jwks_file:
        yield "tokens.jwks_file", Path(settings.tokens.jwks_file)
    if settings.platform.login_file:
        yield "platform.login_file", Path(settings.platform.login_file)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding=ENCODING))
    except (OSError, ValueError):  # the file may have changed since it was loaded
        return {}


def read_mode(file: Path) -> int:
    """Return a file's permissions, following links; 0 if there is no regular file."""
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):  # reported when the file is read
        return 0
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else 0


def _has_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(
            (name in SECRET_NAMES and bool(member)) or _has_secret(member)
            for name, member in value.items()
        )
    return isinstance(value, list) and any(map(_has_secret, value))
