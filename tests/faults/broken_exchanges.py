"""Every way to break an exchange with Dailymotion, and the outcomes that a player may then see."""

import asyncio
import gzip
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from faults.wire import CallKind, Connection, Exchange, Handshake, UpstreamResponse, reset

OK = "ok"
CUT = "cut"  # the response is truncated
UNREACHABLE = "platform-unreachable"
TIMEOUT = "platform-timeout"
BAD_RESPONSE = "platform-bad-response"
TOO_LARGE = "playlist-too-large"
THROTTLED = "platform-throttled"

CLOSING = "Connection: close"  # otherwise the edge might already send the next request
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"  # TLS, fatal, handshake_failure
GARBAGE = bytes(range(128, 256)) * 4
BOMB = gzip.compress(bytes(200_000_000))


@dataclass(frozen=True, slots=True)
class BrokenExchange:
    """A way to break an exchange, and the outcomes that are right for each kind of call."""

    name: str
    exchange: Exchange
    outcomes: Mapping[CallKind, Sequence[str]] = field(default_factory=dict)
    # Outcomes that any player may see in addition; the reason is given beside each.
    also_possible: Sequence[str] = ()


async def reset_before(connection: Connection, _response: UpstreamResponse) -> None:
    connection.reset()


async def close_before(connection: Connection, _response: UpstreamResponse) -> None:
    connection.close()


async def stall_before(connection: Connection, _response: UpstreamResponse) -> None:
    await connection.stall()


async def reset_within_headers(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block[:40])
    connection.reset()


async def close_within_headers(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block[:40])
    connection.close()


async def stall_within_headers(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block[:40])
    await connection.stall()


async def drip_headers(connection: Connection, response: UpstreamResponse) -> None:
    await connection.drip(response.header_block + response.body)


async def reset_within_body(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block + take_half_body(response))
    connection.reset()


async def close_within_body(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block + take_half_body(response))
    connection.close()


async def stall_within_body(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block + take_half_body(response))
    await connection.stall()


async def drip_body(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block)
    await connection.drip(response.body)


async def send_too_large_length(connection: Connection, response: UpstreamResponse) -> None:
    length = len(response.body) + 10
    await connection.send(response.build_header_block(f"Content-Length: {length}") + response.body)
    connection.close()


async def send_too_small_length(connection: Connection, response: UpstreamResponse) -> None:
    length = len(response.body) // 2
    await connection.send(response.build_header_block(f"Content-Length: {length}") + response.body)
    await connection.stall()


async def send_two_lengths(connection: Connection, response: UpstreamResponse) -> None:
    lengths = (f"Content-Length: {len(response.body)}", "Content-Length: 7")
    await connection.send(response.build_header_block(*lengths) + response.body)
    connection.close()


async def send_broken_chunks(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(
        response.build_header_block("Transfer-Encoding: chunked") + b"zz\r\n" + response.body
    )
    await connection.stall()


async def send_a_broken_chunk_late(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.build_header_block("Transfer-Encoding: chunked"))
    for chunk in (b"1\r\n#\r\n", b"zz\r\n"):
        await asyncio.sleep(0.1)
        await connection.send(chunk)
    await connection.stall()


async def send_garbage(connection: Connection, _response: UpstreamResponse) -> None:
    await connection.send(GARBAGE)
    await connection.stall()


async def send_endless_headers(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.status.encode() + b"\r\n")
    while True:
        await connection.send(b"X-More: " + b"a" * 4000 + b"\r\n")


async def send_endless_body(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.build_header_block(CLOSING))
    while True:
        await connection.send(b"#" * 60_000 + b"\n")


async def send_bomb(connection: Connection, response: UpstreamResponse) -> None:
    length = f"Content-Length: {len(BOMB)}"
    await connection.send(response.build_header_block("Content-Encoding: gzip", length, CLOSING))
    await connection.send(BOMB)
    connection.close()


async def send_false_encoding(connection: Connection, response: UpstreamResponse) -> None:
    length = f"Content-Length: {len(response.body)}"
    await connection.send(
        response.build_header_block("Content-Encoding: gzip", length, CLOSING) + response.body
    )
    connection.close()


async def send_503(connection: Connection, _response: UpstreamResponse) -> None:
    await connection.send(build_empty_response("503 Service Unavailable"))
    connection.close()


async def send_429(connection: Connection, _response: UpstreamResponse) -> None:
    await connection.send(build_empty_response("429 Too Many Requests"))
    connection.close()


async def close_after_response(connection: Connection, response: UpstreamResponse) -> None:
    await connection.send(response.header_block + response.body)
    connection.close()


def build_empty_response(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{CLOSING}\r\n\r\n".encode()


def take_half_body(response: UpstreamResponse) -> bytes:
    return response.body[: len(response.body) // 2]


def build_outcomes(api: str, playlist: str, body: str = "") -> dict[CallKind, Sequence[str]]:
    """Return the right outcomes by kind of call; kinds without an outcome are not broken so."""
    outcomes: dict[CallKind, str] = {
        "token": api,
        "video": api,
        "playlist": playlist,
        "bytes": body,
    }
    return {kind: words.split() for kind, words in outcomes.items() if words}


BROKEN_EXCHANGES = (
    BrokenExchange("reset before the response", reset_before, build_outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    BrokenExchange("closed before the response", close_before, build_outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    BrokenExchange("stalled before the response", stall_before, build_outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    BrokenExchange("reset within the headers", reset_within_headers, build_outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    BrokenExchange("closed within the headers", close_within_headers, build_outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    BrokenExchange("stalled within the headers", stall_within_headers, build_outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    BrokenExchange("headers byte by byte", drip_headers, build_outcomes(TIMEOUT, TIMEOUT, TIMEOUT)),
    BrokenExchange("reset within the body", reset_within_body, build_outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    BrokenExchange("closed within the body", close_within_body, build_outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    BrokenExchange("stalled within the body", stall_within_body, build_outcomes(TIMEOUT, TIMEOUT, CUT)),
    BrokenExchange("a body byte by byte", drip_body, build_outcomes(TIMEOUT, TIMEOUT)),
    BrokenExchange("a Content-Length that is too large", send_too_large_length, build_outcomes(UNREACHABLE, UNREACHABLE, CUT)),
    # The surplus bytes make the response invalid HTTP. If they arrive late, a player may not notice.
    BrokenExchange("a Content-Length that is too small", send_too_small_length, build_outcomes(BAD_RESPONSE, BAD_RESPONSE, f"{BAD_RESPONSE} {OK} {CUT}")),
    BrokenExchange("two different Content-Lengths", send_two_lengths, build_outcomes(BAD_RESPONSE, BAD_RESPONSE, BAD_RESPONSE)),
    BrokenExchange("broken chunks", send_broken_chunks, build_outcomes(BAD_RESPONSE, BAD_RESPONSE, f"{BAD_RESPONSE} {CUT}")),
    # aiohttp does not report a broken chunk that arrives after the headers; the request times out.
    # An edge that is busy for 0.2 s reads both at once, and then aiohttp does report it.
    BrokenExchange("a broken chunk, later", send_a_broken_chunk_late, build_outcomes(TIMEOUT, TIMEOUT, CUT), also_possible=[BAD_RESPONSE]),
    BrokenExchange("garbage", send_garbage, build_outcomes(BAD_RESPONSE, BAD_RESPONSE, BAD_RESPONSE)),
    BrokenExchange("endless headers", send_endless_headers, build_outcomes(BAD_RESPONSE, BAD_RESPONSE, BAD_RESPONSE)),
    BrokenExchange("an endless body", send_endless_body, build_outcomes(BAD_RESPONSE, TOO_LARGE)),
    BrokenExchange("a body that inflates to 200 MB", send_bomb, build_outcomes(BAD_RESPONSE, TOO_LARGE)),
    BrokenExchange("a false Content-Encoding", send_false_encoding, build_outcomes(BAD_RESPONSE, BAD_RESPONSE)),
    BrokenExchange("503", send_503, build_outcomes(UNREACHABLE, UNREACHABLE, UNREACHABLE)),
    BrokenExchange("429", send_429, build_outcomes(THROTTLED, THROTTLED, THROTTLED)),
    # The close is not announced, so a request in flight is lost. In 5 of 1,000 cases the second and
    # third attempt are lost, too, on a connection that another play has just used.
    BrokenExchange("closed after each response", close_after_response, build_outcomes(OK, OK, OK), also_possible=[UNREACHABLE]),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BrokenHandshake:
    """A way to break the TLS handshake, and the outcome of every play."""

    name: str
    handshake: Handshake
    outcome: str


async def reset_at_once(connection: socket.socket) -> None:
    reset(connection)


async def close_at_once(_connection: socket.socket) -> None:
    pass


async def send_alert(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_recv(connection, 4096)
    await loop.sock_sendall(connection, ALERT)


async def respond_without_tls(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_recv(connection, 4096)
    await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


async def stall_handshake(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(connection, 4096):
        pass


BROKEN_HANDSHAKES = (
    BrokenHandshake("reset at once", reset_at_once, UNREACHABLE),
    BrokenHandshake("closed at once", close_at_once, UNREACHABLE),
    BrokenHandshake("a TLS alert", send_alert, UNREACHABLE),
    BrokenHandshake("no TLS at all", respond_without_tls, UNREACHABLE),
    BrokenHandshake("TLS that stalls", stall_handshake, TIMEOUT),
)
