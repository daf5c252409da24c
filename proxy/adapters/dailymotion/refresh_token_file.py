"""The file in which a login is kept: a refresh token that survives the end of the process.

A refresh token may be good for one use, and then the answer's own is all there is. So the next one
is written beside the file and flushed to the disk before it takes the file's place, and where the
machine stopped between the two, whoever holds the file next finishes the step.
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
RESERVED_BYTES = (
    8192  # bytes, taken before anything is asked for: a full disk is to be found in time
)
LOCK_POLL_SECONDS = 0.05  # seconds


class RefreshTokenFile:
    """One file and its lock, which edges and commands on one machine share."""

    def __init__(self, path: str, clock: Clock) -> None:
        # A link stays one, and what it leads to is replaced; Path.resolve raises on a loop.
        self._path = Path(os.path.realpath(path))
        self._clock = clock

    @asynccontextmanager
    async def lock(self, *, deadline: float) -> AsyncIterator["LockedRefreshToken"]:
        """Hold the file for oneself: two who renew at a time would void each other's.

        The kernel lets go when the process ends, however it ends.

        Raises:
            StateError: somebody else holds it beyond the deadline, or the disk fails while it is
                held.
        """
        descriptor = -1
        try:
            descriptor = _open(self._build_sibling_path(".lock"), os.O_RDWR, like=self._path)
            while not _try_lock(descriptor):
                if self._clock.monotonic() > deadline:
                    raise StateError(f"{self._path}: in use by another")
                await asyncio.sleep(LOCK_POLL_SECONDS)
            login = LockedRefreshToken(self._path, self._build_sibling_path(".next"))
            login.finish_replacement()
            try:
                yield login
            finally:
                login.release_space()
        except TimeoutError:  # an OSError too, and somebody else's
            raise
        except OSError as error:
            why = f"{self._path}: the login cannot be kept ({os.strerror(error.errno or 0)})"
            raise StateError(why) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _build_sibling_path(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


class LockedRefreshToken:
    """The file while it is held; every step leaves a good refresh token on the disk."""

    def __init__(self, path: Path, following: Path) -> None:
        self._path = path
        self._next_path = following

    def finish_replacement(self) -> None:
        """Take the step at which another was stopped: what is whole beside the file is newer."""
        if _read_content(self._next_path):
            self._replace()

    def read(self, api_key: str) -> str:
        """Return the refresh token, or refuse where there is none for this API key."""
        content = _read_content(self._path)
        if not content:
            raise _build_missing_login_refusal(f"{self._path}: no login is kept here")
        if content.get("api_key") != api_key:
            raise _build_missing_login_refusal(
                f"{self._path}: this login was made with another API key"
            )
        return content["refresh_token"]

    def reserve_space(self) -> None:
        """Take the room for the next refresh token, or fail as the disk does: OSError."""
        descriptor = self._open_next()
        try:
            os.ftruncate(descriptor, 0)  # of what was left half written
            os.posix_fallocate(descriptor, 0, RESERVED_BYTES)
        finally:
            os.close(descriptor)

    def write(self, api_key: str, refresh_token: str) -> None:
        """Keep a refresh token in place of the one before, or fail as the disk does: OSError."""
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
        """Give back the room that was not needed."""
        if not _read_content(self._next_path):
            self._next_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget the login."""
        self._next_path.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def _open_next(self) -> int:
        return _open(self._next_path, os.O_WRONLY, like=self._path)

    def _replace(self) -> None:
        self._next_path.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _open(path: Path, access: int, *, like: Path) -> int:
    """Open a file of ours, for the owner of another: root may look after an edge's login."""
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
    """Return what a file says; nothing where it is absent, or not whole."""
    try:
        content = json.loads(path.read_bytes().rstrip(b"\0"))  # of ROOM
    except (FileNotFoundError, ValueError, RecursionError):  # ValueError: of JSON, and of UTF-8
        return {}
    is_whole = isinstance(content, dict) and is_credential(content.get("refresh_token"))
    return content if is_whole else {}


def is_credential(value: object) -> bool:
    """Say whether a value is a token that can be sent, and kept."""
    is_text = isinstance(value, str) and value.isascii() and value.isprintable()
    return is_text and 0 < len(str(value)) <= MAX_TOKEN_LENGTH


def _build_missing_login_refusal(why: str) -> Refusal:
    return Refusal(Reason.PLATFORM_CREDENTIALS, f"{why}: run playgate login")
