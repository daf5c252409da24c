"""Ports for the programs that the tests start."""

import socket

# Each stays bound until the tests end, so that the system gives it to nobody else. It does not
# listen: a program that sets SO_REUSEADDR, as servers do, may bind it and listen.
_HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that no other call returns."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # from here on, not while binding
    _HELD.append(holder)
    port: int = holder.getsockname()[1]
    return port
