"""The file of our own keys: read whole, and replaced whole, by one writer at a time."""

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
    """Keep other writers out; readers always find a whole file."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def read_regular_file(path: Path, *, encoding: str) -> str:
    """Return a file's text, or fail as the disk does: OSError, ValueError.

    A pipe is refused: to open one waits for its writer, for ever perhaps.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(errno.ESPIPE, "it is no regular file")
    return path.read_text(encoding=encoding)


def read(path: Path) -> str | None:
    """Return what is in the file, None where there is none, or fail as the disk does: OSError."""
    try:
        return read_regular_file(path, encoding="utf-8")
    except FileNotFoundError:
        return None


def replace(path: Path, text: str) -> None:
    """Put a text in place of what is there, or fail as the disk does: OSError.

    A new file is its owner's alone (0600). Another keeps its owner and its mode, since root may
    look after an edge's keys; but only the owner may write it.
    """
    descriptor, beside = mkstemp(prefix=f".{path.name}.", dir=path.parent)
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
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
