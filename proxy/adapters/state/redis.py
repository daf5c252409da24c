"""State in Redis, or Valkey: one primary that every instance reaches.

Plain commands and one short script, so that any server since Redis 6.2 will do. Every name begins
with the prefix. Failures are told by their kind alone: messages of the server may repeat a key.
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

MAX_CONNECTIONS = 16  # at once; each is busy for as long as one command takes
CONNECT_TIMEOUT_SECONDS = (
    1.0  # seconds; with TLS it takes longer than a play waits, and goes on behind it
)
RESPONSE_TIMEOUT_SECONDS = 1.0  # seconds, after which a connection is given up
PROBE_TTL_SECONDS = 60
LOG_TTL_MARGIN_SECONDS = (
    60  # seconds that entries stay beyond their time: the clocks of two machines differ
)

MIN_ERROR_CODE_LENGTH = 4  # letters of an error code of Redis, such as BUSY

UNUSABLE_KEY_ERROR = re.compile(
    r"WRONGTYPE|last possible ID|equal or smaller than the target stream"
)

RELEASE_SCRIPT = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"
)


class RedisStore:
    """The state of all instances that share a URL and a prefix."""

    is_shared = True

    def __init__(self, url: str, *, prefix: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=RESPONSE_TIMEOUT_SECONDS,
            socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
            socket_timeout=RESPONSE_TIMEOUT_SECONDS,
            decode_responses=True,
            encoding_errors="replace",  # what others wrote is to be passed over, not stumbled upon
            protocol=2,
            # A connection that died since its last use is found out by using it.
            retry=Retry(NoBackoff(), 1, supported_errors=(NoConnection,)),
        )
        self._redis = Redis.from_pool(pool)
        self._release = self._redis.register_script(RELEASE_SCRIPT)
        self._prefix = prefix

    async def get(self, name: str) -> str | None:
        """Return a value, None where there is none."""
        key = self._build_key(name)
        return await self._send(key, lambda: cast("Awaitable[str | None]", self._redis.get(key)))

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value."""
        with _convert_failures():
            await self._redis.set(self._build_key(name), value, px=_to_milliseconds(ttl))

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set a value unless there is one; return the one that is there now."""
        key = self._build_key(name)

        async def claim() -> object:
            # One transaction and one round trip: SET … NX GET is not known before Redis 7.
            async with self._redis.pipeline(transaction=True) as both:
                both.set(key, value, nx=True, px=_to_milliseconds(ttl))
                both.get(key)
                _, held = await both.execute()
                return held

        held = await self._send(key, claim)
        return value if held is None else str(held)  # None: it lapsed in between

    async def release(self, name: str, value: str) -> None:
        """Remove a value if it is still this one."""
        key = self._build_key(name)
        await self._send(key, lambda: self._release(keys=[key], args=[value]))

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Add to the end of a log, at least one, and let go of what is older than `keep`."""
        key, oldest = (
            self._build_key(log),
            int((time.time() - keep - LOG_TTL_MARGIN_SECONDS) * 1000),
        )

        async def append() -> None:
            async with self._redis.pipeline(transaction=True) as all_of_it:
                for entry in entries:
                    least = str(max(oldest, 0))
                    all_of_it.xadd(key, {"entry": entry}, minid=least, approximate=True)
                all_of_it.pexpire(key, _to_milliseconds(keep + LOG_TTL_MARGIN_SECONDS))
                await all_of_it.execute()

        await self._send(key, append)

    async def read(self, log: str, position: str) -> LogPage:
        """Return a page of what came after a position; from the beginning where that is gone.

        The entry at the position is read again: where it is no more, the server was emptied, or
        another took its place that knew less.
        """
        found = await self._read_range(log, position)
        is_continued = not position or (bool(found) and found[0][0] == position)
        if not is_continued:
            found = await self._read_range(log, "")
        fresh = found[1:] if position and is_continued else found
        return LogPage(
            entries=tuple(fields["entry"] for _, fields in fresh if "entry" in fields),
            position=found[-1][0] if found else "",
            is_continued=is_continued,
            is_last=len(found) < PAGE_SIZE,
        )

    async def probe(self) -> None:
        """Return if writing works; then reading does."""
        with _convert_failures():
            await self._redis.set(self._build_key("probe"), "1", ex=PROBE_TTL_SECONDS)

    async def close(self) -> None:
        """Let go of connections, or leave them to their end."""
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _read_range(self, log: str, position: str) -> list[tuple[str, dict[str, str]]]:
        key = self._build_key(log)
        found = await self._send(
            key,
            lambda: cast(
                "Awaitable[Any]", self._redis.xrange(key, min=position or "-", count=PAGE_SIZE)
            ),
        )
        return cast("list[tuple[str, dict[str, str]]]", found)

    async def _send(self, key: str, question: Callable[[], Awaitable[T]]) -> T:
        """Return what Redis answers.

        Deletes a key that another writer made unusable, and asks Redis once more: a value of
        another type, or a stream whose last possible ID is taken, would otherwise stop every
        instance until an operator deletes it. What a log loses, the instances put back.
        """
        with _convert_failures():
            try:
                return await question()
            except ResponseError as error:
                if UNUSABLE_KEY_ERROR.search(str(error)) is None:
                    raise
                await self._redis.delete(key)
                return await question()

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
        said = kind if is_code else type(error).__name__
        raise StateError(f"the state answered {said}") from None
    except AuthenticationError:
        raise StateError("the state refuses the user or the password of state.url") from None
    except (RedisError, OSError) as error:
        kind = type(error).__name__
        raise StateError(f"the state cannot be reached ({kind})") from None
