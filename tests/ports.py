"""Reserve ports for the programs that the tests start."""

import socket

# Each socket stays bound until the tests end, so that the kernel gives its port to no other program.
# The socket does not listen: a server that sets SO_REUSEADDR can still bind the port and listen.
_RESERVED: list[socket.socket] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that no other call returns, and reserve it."""
    reserving = socket.socket()
    reserving.bind(("127.0.0.1", 0))
    reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only after binding
    _RESERVED.append(reserving)
    port: int = reserving.getsockname()[1]
    return port
