"""The file that stores a login: a refresh token, which outlives the process.

A refresh token may be valid for one use only; the response to it then holds the only valid one. So
the new token is written to a second file (`.next`) and flushed to disk before it replaces the old
file. If the machine stops between these two steps, the next process that locks the file completes
the replacement.
"""

import asyncio
import errno
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.adapters.clock import Clock
from proxy.adapters.errors import StateError
from proxy.domain.reasons import Reason, Refusal

FILE_MODE = 0o600
MAX_TOKEN_LENGTH = 4096  # characters of a refresh token
# Reserved on disk before the refresh token is sent: a full disk must be noticed before that.
RESERVED_BYTES = 8192
LOCK_POLL_SECONDS = 0.05


class RefreshTokenFile:
    """The refresh token file and its lock, which edges and commands on one machine share."""

    def __init__(self, path: str, clock: Clock) -> None:
        # Replace the target of a symbolic link, not the link. Path.resolve raises on a loop.
        self._path = Path(os.path.realpath(path))
        self._clock = clock

    @asynccontextmanager
    async def lock(self, *, deadline: float) -> AsyncIterator["LockedRefreshToken"]:
        """Lock the file: two processes that refresh at once would invalidate each other's token.

        The kernel releases the lock when the process ends, even if it is killed.

        Raises:
            StateError: if another process holds the lock until the deadline, or the disk fails
                while the file is locked.
        """
        descriptor = -1
        try:
            descriptor = _open(self._build_sibling_path(".lock"), os.O_RDWR, like=self._path)
            while not _try_lock(descriptor):
                if self._clock.monotonic() > deadline:
                    raise StateError(f"{self._path}: locked by another edge or command")
                await asyncio.sleep(LOCK_POLL_SECONDS)
            login = LockedRefreshToken(self._path, self._build_sibling_path(".next"))
            login.finish_replacement()
            try:
                yield login
            finally:
                login.release_space()
        except TimeoutError:  # also an OSError, but the caller's timeout, not the disk's error
            raise
        except OSError as error:
            problem = os.strerror(error.errno or 0)
            detail = f"{self._path}: the login cannot be read or written ({problem})"
            raise StateError(detail) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _build_sibling_path(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


class LockedRefreshToken:
    """The locked refresh token file; after every step, the disk holds a valid refresh token."""

    def __init__(self, path: Path, next_path: Path) -> None:
        self._path = path
        self._next_path = next_path

    def finish_replacement(self) -> None:
        """Complete an interrupted replacement: a complete `.next` file is newer than the file."""
        if _read_content(self._next_path):
            self._replace()

    def read(self, api_key: str) -> str:
        """Return the refresh token.

        Raises:
            Refusal: if the file has no refresh token for this API key.
        """
        content = _read_content(self._path)
        if not content:
            raise _build_missing_login_refusal(f"{self._path}: no login is stored here")
        if content.get("api_key") != api_key:
            raise _build_missing_login_refusal(
                f"{self._path}: this login was created with another API key"
            )
        return content["refresh_token"]

    def reserve_space(self) -> None:
        """Reserve disk space for the next refresh token. Raises OSError if the disk is full."""
        descriptor = self._open_next()
        try:
            os.ftruncate(descriptor, 0)  # remove what an interrupted write left
            os.posix_fallocate(descriptor, 0, RESERVED_BYTES)
        finally:
            os.close(descriptor)

    def write(self, api_key: str, refresh_token: str) -> None:
        """Replace the stored refresh token. Raises OSError if the disk fails."""
        text = json.dumps({"api_key": api_key, "refresh_token": refresh_token}) + "\n"
        descriptor = self._open_next()
        try:
            if os.write(descriptor, text.encode()) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(descriptor, len(text))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._replace()

    def release_space(self) -> None:
        """Remove the `.next` file if it holds no token, and with it the reserved disk space."""
        if not _read_content(self._next_path):
            self._next_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the stored login."""
        self._next_path.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _open_next(self) -> int:
        return _open(self._next_path, os.O_WRONLY, like=self._path)

    def _replace(self) -> None:
        self._next_path.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # so that the rename survives a crash of the machine
        finally:
            os.close(folder)


def _open(path: Path, access: int, *, like: Path) -> int:
    """Open a file, creating it with the owner of `like`: root may refresh an edge's login."""
    descriptor = os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        os.fchmod(descriptor, FILE_MODE)
        if like.exists() and (owner := like.stat()).st_uid != os.fstat(descriptor).st_uid:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_content(path: Path) -> dict[str, str]:
    """Return the content of a file; empty if the file is missing or incomplete."""
    try:
        content = json.loads(path.read_bytes().rstrip(b"\0"))  # the reserved space is zeros
    except (FileNotFoundError, ValueError, RecursionError):  # ValueError: invalid JSON or UTF-8
        return {}
    is_complete = isinstance(content, dict) and is_credential(content.get("refresh_token"))
    return content if is_complete else {}


def is_credential(value: object) -> bool:
    """Return whether a value is a token that can be sent and stored."""
    is_text = isinstance(value, str) and value.isascii() and value.isprintable()
    return is_text and 0 < len(str(value)) <= MAX_TOKEN_LENGTH


def _build_missing_login_refusal(problem: str) -> Refusal:
    return Refusal(Reason.PLATFORM_CREDENTIALS, f"{problem}: run playgate login")
