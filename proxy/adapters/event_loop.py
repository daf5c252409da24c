"""The event loop: uvloop with two fixes.

1. A descriptor is closed once. If a connection is reset before TLS begins, libuv closes its
   descriptor before uvloop has recorded the socket object. When the socket object is garbage
   collected, it closes the same descriptor number again, which may belong to another viewer's
   connection by then. (uvloop's issue 645; version 0.23 fixed it for connections without TLS.)
2. A TLS shutdown waits one second for the peer's close_notify, instead of 30 seconds.
"""

from typing import Any

import uvloop

TLS_SHUTDOWN_TIMEOUT_SECONDS = 1.0


class Loop(uvloop.Loop):
    """uvloop with both fixes."""

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect as uvloop does, with the short timeout for the end of TLS.

        On failure, detach the socket object, so that it does not close its descriptor again.
        """
        if options.get("ssl"):
            options.setdefault("ssl_shutdown_timeout", TLS_SHUTDOWN_TIMEOUT_SECONDS)
        try:
            return await super().create_connection(*arguments, **options)
        except BaseException:
            if (connection := options.get("sock")) is not None:
                connection.detach()
            raise
