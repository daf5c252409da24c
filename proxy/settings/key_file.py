"""Read and atomically replace the key file (`tokens.jwks_file`), with one writer at a time."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lock the file's folder against other writers; readers need no lock (see `replace`)."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def read_regular_file(path: Path, *, encoding: str) -> str:
    """Read a file's text.

    Raises:
        OSError: the file cannot be read, or is a pipe: opening a pipe could block for ever.
        ValueError: the path contains a NUL, or the file is not text.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(errno.ESPIPE, "it is not a regular file")
    return path.read_text(encoding=encoding)


def read(path: Path) -> str | None:
    """Read the key file's text; None if the file does not exist.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return read_regular_file(path, encoding="utf-8")
    except FileNotFoundError:
        return None


def replace(path: Path, text: str) -> None:
    """Replace the file atomically with a new one that contains `text`.

    A new file gets mode 0600. An existing file keeps its owner, since root may manage an edge's
    keys. It also keeps its mode, except that only the owner may write it.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor, temporary = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with suppress(FileNotFoundError):
            before = path.stat()
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & ~WRITABLE_BY_OTHERS)
            if os.geteuid() == 0:
                os.fchown(descriptor, before.st_uid, before.st_gid)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
