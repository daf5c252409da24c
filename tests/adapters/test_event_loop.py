"""The event loop closes the descriptor of a failed connection only once."""

import asyncio
import gc
import os
import socket
import ssl
import warnings

import pytest
import uvloop
from faults.wire import reset

from proxy.adapters.event_loop import Loop


async def fail_to_connect(connected: socket.socket) -> None:
    """Begin TLS on a connection that the peer has reset."""
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        await loop.create_connection(
            asyncio.Protocol,
            sock=connected,
            ssl=ssl.create_default_context(),
            server_hostname="localhost",
        )
    await asyncio.sleep(0.05)


def is_closed_twice(runner: asyncio.Runner) -> bool:
    """Return whether collecting the socket closes its number, which another file has by then."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connected = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        reset(accepted)
        accepted.close()
    number = connected.fileno()
    runner.run(fail_to_connect(connected))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)  # closed: the next file may get this number
    other = os.open(os.devnull, os.O_RDONLY)
    if other != number:
        os.dup2(other, number)
        os.close(other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del connected
        gc.collect()
    try:
        os.close(number)
    except OSError:
        return True
    return False


@pytest.mark.parametrize(("loop", "closes_twice"), [(uvloop.Loop, True), (Loop, False)])
def test_the_descriptor_of_a_failed_connection_is_closed_only_once(loop, closes_twice):
    with asyncio.Runner(loop_factory=loop) as runner:
        assert is_closed_twice(runner) == closes_twice
