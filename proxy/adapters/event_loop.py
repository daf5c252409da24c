"""The event loop: uvloop, and two things that it leaves undone.

A connection that is reset before TLS begins is closed by libuv before uvloop has noted which socket
it was made of. The socket keeps the descriptor's number, and closes it once more when it is
collected: by then another viewer's connection may have it. (Of uvloop's issue 645, version 0.23 has
mended the part without TLS.)

And a connection that we end waits for thirty seconds, by default, that the other end says so too.
"""

from typing import Any

import uvloop

TLS_SHUTDOWN_TIMEOUT_SECONDS = 1.0  # seconds


class Loop(uvloop.Loop):
    """uvloop, whose failed connections own their descriptor alone."""

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect as uvloop does; where that fails, take the descriptor from its socket."""
        if options.get("ssl"):
            options.setdefault("ssl_shutdown_timeout", TLS_SHUTDOWN_TIMEOUT_SECONDS)
        try:
            return await super().create_connection(*arguments, **options)
        except BaseException:
            if (given := options.get("sock")) is not None:
                given.detach()
            raise
