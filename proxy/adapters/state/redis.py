"""The shared state in Redis or Valkey: one primary server, which all instances use.

It needs Redis 6.2 or later: only basic commands and one short script are used. All Redis
keys begin with `state.prefix`. A `StateError` names only the kind of failure, because an error
message of Redis may contain a Redis key.
"""

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NoConnection

from proxy.adapters.errors import StateError
from proxy.adapters.state.store import PAGE_SIZE, LogPage

T = TypeVar("T")

MAX_CONNECTIONS = 16  # each is in use only while one command runs
# With TLS, connecting takes longer than a play waits; it continues in the background.
CONNECT_TIMEOUT_SECONDS = 1.0
RESPONSE_TIMEOUT_SECONDS = 1.0  # then the connection is closed
PROBE_TTL_SECONDS = 60
LOG_TTL_MARGIN_SECONDS = 60  # entries stay longer by this, because machines' clocks differ

MIN_ERROR_CODE_LENGTH = 4  # letters of the shortest error code of Redis, such as BUSY

UNUSABLE_KEY_ERROR = re.compile(
    r"WRONGTYPE|last possible ID|equal or smaller than the target stream"
)

RELEASE_SCRIPT = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"
)


class RedisStore:
    """Stores the state of all instances that use the same URL and prefix."""

    is_shared = True

    def __init__(self, url: str, *, prefix: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=RESPONSE_TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=RESPONSE_TIMEOUT_SECONDS,
            decode_responses=True,
            encoding_errors="replace",  # invalid bytes that another writer stored must not raise
            protocol=2,
            # Retry once: a connection that the server has closed fails only when it is used.
            retry=Retry(NoBackoff(), 1, supported_errors=(NoConnection,)),
        )
        self._redis = Redis.from_pool(pool)
        self._release = self._redis.register_script(RELEASE_SCRIPT)
        self._prefix = prefix

    async def get(self, name: str) -> str | None:
        """Return the value under `name`, or None."""
        key = self._build_key(name)
        return await self._send(key, lambda: cast("Awaitable[str | None]", self._redis.get(key)))

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set the value under `name`."""
        with _convert_failures():
            await self._redis.set(self._build_key(name), value, px=_to_milliseconds(ttl))

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set the value of `name` if it has none; return the value that `name` has afterwards."""
        key = self._build_key(name)

        async def claim() -> object:
            # One transaction in one round trip, because SET … NX GET needs Redis 7.
            async with self._redis.pipeline(transaction=True) as transaction:
                transaction.set(key, value, nx=True, px=_to_milliseconds(ttl))
                transaction.get(key)
                _, stored = await transaction.execute()
                return stored

        stored = await self._send(key, claim)
        return value if stored is None else str(stored)  # None: expired between SET and GET

    async def release(self, name: str, value: str) -> None:
        """Delete `name` if its value is `value`."""
        key = self._build_key(name)
        await self._send(key, lambda: self._release(keys=[key], args=[value]))

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Append one or more entries to a log, and remove entries older than `keep`."""
        key = self._build_key(log)
        oldest = int((time.time() - keep - LOG_TTL_MARGIN_SECONDS) * 1000)

        async def append() -> None:
            async with self._redis.pipeline(transaction=True) as transaction:
                for entry in entries:
                    min_id = str(max(oldest, 0))
                    transaction.xadd(key, {"entry": entry}, minid=min_id, approximate=True)
                transaction.pexpire(key, _to_milliseconds(keep + LOG_TTL_MARGIN_SECONDS))
                await transaction.execute()

        await self._send(key, append)

    async def read(self, log: str, position: str) -> LogPage:
        """Return the page of entries after `position`, or the first page if that entry is gone.

        The entry at `position` is read again. If it is missing, the server was emptied, or replaced
        by a replica that had not received the entry.
        """
        page = await self._read_range(log, position)
        is_continued = not position or (bool(page) and page[0][0] == position)
        if not is_continued:
            page = await self._read_range(log, "")
        new = page[1:] if position and is_continued else page
        return LogPage(
            entries=tuple(fields["entry"] for _, fields in new if "entry" in fields),
            position=page[-1][0] if page else "",
            is_continued=is_continued,
            is_last=len(page) < PAGE_SIZE,
        )

    async def probe(self) -> None:
        """Raise StateError unless writing works; if it does, reading works too."""
        with _convert_failures():
            await self._redis.set(self._build_key("probe"), "1", ex=PROBE_TTL_SECONDS)

    async def close(self) -> None:
        """Close the connections, ignoring errors."""
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _read_range(self, log: str, position: str) -> list[tuple[str, dict[str, str]]]:
        key = self._build_key(log)
        entries = await self._send(
            key,
            lambda: cast(
                "Awaitable[Any]", self._redis.xrange(key, min=position or "-", count=PAGE_SIZE)
            ),
        )
        return cast("list[tuple[str, dict[str, str]]]", entries)

    async def _send(self, key: str, command: Callable[[], Awaitable[T]]) -> T:
        """Send a command and return the response.

        If another writer made the key unusable, delete the key and retry once. Otherwise a value of
        another type, or a stream whose last possible ID is taken, would stop every instance until
        an operator deletes the key. The instances append the lost log entries again.
        """
        with _convert_failures():
            try:
                return await command()
            except ResponseError as error:
                if UNUSABLE_KEY_ERROR.search(str(error)) is None:
                    raise
                await self._redis.delete(key)
                return await command()

    def _build_key(self, name: str) -> str:
        return f"{self._prefix}:{name}"


def _to_milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@contextmanager
def _convert_failures() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        kind = str(error).split(" ", 1)[0]  # WRONGTYPE, CLUSTERDOWN, …
        is_code = kind.isupper() and len(kind) >= MIN_ERROR_CODE_LENGTH
        code = kind if is_code else type(error).__name__
        raise StateError(f"the state server responded with {code}") from None
    except AuthenticationError:
        raise StateError("the state server refuses the user or password in state.url") from None
    except (RedisError, OSError) as error:
        kind = type(error).__name__
        raise StateError(f"the state server cannot be reached ({kind})") from None
