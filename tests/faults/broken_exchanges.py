"""Every way in which an exchange with Dailymotion can break, and what a player then gets to see."""

import asyncio
import gzip
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faults.wire import Answer, Exchange, Greeting, Kind, Line, reset

OK = "ok"
CUT = "cut"  # the answer ends before its end
UNREACHABLE = "platform-unreachable"
TIMEOUT = "platform-timeout"
BAD = "platform-bad-response"
THROTTLED = "platform-throttled"

CLOSING = "Connection: close"  # or the next request may already be on its way
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # TLS, fatal, handshake_failure
GARBAGE = bytes(range(128, 256)) * 4
BOMB = gzip.compress(bytes(200_000_000))


@dataclass(frozen=True, slots=True)
class Break:
    """A way to break, and the outcomes that are right for each kind of call."""

    name: str
    exchange: Exchange
    outcomes: Mapping[Kind, Sequence[str]] = field(default_factory=dict)
    # What anybody may see besides, who shares the connections.
    aside: Sequence[str] = ()


async def reset_before(line: Line, _answer: Answer) -> None:
    line.reset()


async def close_before(line: Line, _answer: Answer) -> None:
    line.close()


async def stall_before(line: Line, _answer: Answer) -> None:
    await line.stall()


async def reset_within_head(line: Line, answer: Answer) -> None:
    await line.send(answer.head[:40])
    line.reset()


async def close_within_head(line: Line, answer: Answer) -> None:
    await line.send(answer.head[:40])
    line.close()


async def stall_within_head(line: Line, answer: Answer) -> None:
    await line.send(answer.head[:40])
    await line.stall()


async def drip_head(line: Line, answer: Answer) -> None:
    await line.drip(answer.head + answer.body)


async def reset_within_body(line: Line, answer: Answer) -> None:
    await line.send(answer.head + half(answer))
    line.reset()


async def close_within_body(line: Line, answer: Answer) -> None:
    await line.send(answer.head + half(answer))
    line.close()


async def stall_within_body(line: Line, answer: Answer) -> None:
    await line.send(answer.head + half(answer))
    await line.stall()


async def drip_body(line: Line, answer: Answer) -> None:
    await line.send(answer.head)
    await line.drip(answer.body)


async def say_too_long(line: Line, answer: Answer) -> None:
    length = len(answer.body) + 10
    await line.send(answer.head_with(f"Content-Length: {length}") + answer.body)
    line.close()


async def say_too_short(line: Line, answer: Answer) -> None:
    length = len(answer.body) // 2
    await line.send(answer.head_with(f"Content-Length: {length}") + answer.body)
    await line.stall()


async def say_two_lengths(line: Line, answer: Answer) -> None:
    lengths = (f"Content-Length: {len(answer.body)}", "Content-Length: 7")
    await line.send(answer.head_with(*lengths) + answer.body)
    line.close()


async def send_broken_chunks(line: Line, answer: Answer) -> None:
    await line.send(answer.head_with("Transfer-Encoding: chunked") + b"zz\r\n" + answer.body)
    await line.stall()


async def send_a_broken_chunk_late(line: Line, answer: Answer) -> None:
    await line.send(answer.head_with("Transfer-Encoding: chunked"))
    for chunk in (b"1\r\n#\r\n", b"zz\r\n"):
        await asyncio.sleep(0.1)
        await line.send(chunk)
    await line.stall()


async def send_garbage(line: Line, _answer: Answer) -> None:
    await line.send(GARBAGE)
    await line.stall()


async def send_endless_head(line: Line, answer: Answer) -> None:
    await line.send(answer.status.encode() + b"\r\n")
    while True:
        await line.send(b"X-More: " + b"a" * 4000 + b"\r\n")


async def send_endless_body(line: Line, answer: Answer) -> None:
    await line.send(answer.head_with(CLOSING))
    while True:
        await line.send(b"#" * 60_000 + b"\n")


async def send_bomb(line: Line, answer: Answer) -> None:
    length = f"Content-Length: {len(BOMB)}"
    await line.send(answer.head_with("Content-Encoding: gzip", length, CLOSING))
    await line.send(BOMB)
    line.close()


async def say_compressed(line: Line, answer: Answer) -> None:
    length = f"Content-Length: {len(answer.body)}"
    await line.send(answer.head_with("Content-Encoding: gzip", length, CLOSING) + answer.body)
    line.close()


async def fail(line: Line, _answer: Answer) -> None:
    await line.send(empty("503 Service Unavailable"))
    line.close()


async def throttle(line: Line, _answer: Answer) -> None:
    await line.send(empty("429 Too Many Requests"))
    line.close()


async def close_behind(line: Line, answer: Answer) -> None:
    await line.send(answer.head + answer.body)
    line.close()


def empty(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{CLOSING}\r\n\r\n".encode()


def half(answer: Answer) -> bytes:
    return answer.body[: len(answer.body) // 2]


def outcomes(api: str, playlist: str, body: str = "") -> dict[Kind, Sequence[str]]:
    """Return the right outcomes; what has none is not broken in this way."""
    right: dict[Kind, str] = {"token": api, "video": api, "playlist": playlist, "bytes": body}
    return {kind: it.split() for kind, it in right.items() if it}


BREAKS = (
    Break("reset before the answer", reset_before, outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    Break("closed before the answer", close_before, outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    Break("stalled before the answer", stall_before, outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    Break("reset within the head", reset_within_head, outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    Break("closed within the head", close_within_head, outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    Break("stalled within the head", stall_within_head, outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    Break("a dripping head", drip_head, outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    Break("reset within the body", reset_within_body, outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    Break("half a body", close_within_body, outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    Break("stalled within the body", stall_within_body, outcomes(TIMEOUT, TIMEOUT, CUT)),
    Break("a dripping body", drip_body, outcomes(TIMEOUT, TIMEOUT)),
    Break("a length that is too long", say_too_long, outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    # What comes behind the length makes it no HTTP, unless it comes late, which a player may not see.
    Break("a length that is too short", say_too_short, outcomes(BAD, BAD, f"{BAD} {OK} {CUT}")),
    Break("two lengths", say_two_lengths, outcomes(BAD, BAD, BAD)),
    Break("broken chunks", send_broken_chunks, outcomes(BAD, BAD, f"{BAD} {CUT}")),
    # aiohttp tells nobody of one that comes behind the head; its time runs out.
    Break("a broken chunk, later", send_a_broken_chunk_late, outcomes(TIMEOUT, TIMEOUT, CUT)),
    Break("garbage", send_garbage, outcomes(BAD, BAD, BAD)),
    Break("an endless head", send_endless_head, outcomes(BAD, BAD, BAD)),
    Break("an endless body", send_endless_body, outcomes(BAD, BAD)),
    Break("a body that inflates to 200 MB", send_bomb, outcomes(BAD, BAD)),
    Break("compressed, it says", say_compressed, outcomes(BAD, BAD)),
    Break("503", fail, outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    Break("429", throttle, outcomes(THROTTLED, THROTTLED, THROTTLED)),
    # Without a word: a request that is on its way by then is lost, and five times in a thousand the
    # second and the third, too, on a connection that somebody else has just used.
    Break("closed behind each answer", close_behind, outcomes(OK, OK, OK), aside=[UNREACHABLE]),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a connection meets in place of TLS, and the outcome for everybody."""

    name: str
    greeting: Greeting
    outcome: str


async def reset_at_once(connection: socket.socket) -> None:
    reset(connection)


async def close_at_once(_connection: socket.socket) -> None:
    pass


async def send_alert(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_recv(connection, 4096)
    await loop.sock_sendall(connection, ALERT)


async def answer_in_plain(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_recv(connection, 4096)
    await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


async def keep_waiting(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(connection, 4096):
        pass


WELCOMES = (
    Welcome("reset at once", reset_at_once, UNREACHABLE),
    Welcome("closed at once", close_at_once, UNREACHABLE),
    Welcome("a TLS alert", send_alert, UNREACHABLE),
    Welcome("no TLS at all", answer_in_plain, UNREACHABLE),
    Welcome("TLS that stalls", keep_waiting, TIMEOUT),
)
