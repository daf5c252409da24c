"""The state of a running sandbox, and the sending of injected faults."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from proxy.sandbox.accounts import Accounts
from proxy.sandbox.catalogue import VIDEOS, Video
from proxy.sandbox.controls import Controls, Fault
from proxy.sandbox.edge_tools import EdgeTools
from proxy.sandbox.locks import Locks

DRIP_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """The state of a sandbox. Times are in seconds since 1970."""

    accounts: Accounts = field(default_factory=Accounts)
    origin: str = ""  # scheme, host and port; set once the sandbox listens
    locks: Locks = field(default_factory=lambda: Locks(ttl=4 * 3600))
    controls: Controls = field(default_factory=Controls)
    videos: dict[str, Video] = field(default_factory=lambda: dict(VIDEOS))
    now: Callable[[], float] = time.time
    uploads: dict[str, int] = field(default_factory=dict)  # received bytes, by upload ID
    # Range headers of the latest requests for MP4 files.
    ranges: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    edge: EdgeTools | None = None  # the edge in front of this sandbox, if any
    on_air_since: float = field(init=False)

    def __post_init__(self) -> None:
        """Put the live channels on air one hour before the start of the sandbox."""
        # Counting from 1970 would make 150 million discontinuities, which take hls.js seconds.
        self.on_air_since = self.now() - 3600

    def get_time_on_air(self) -> float:
        """Return how long the live channels have been on air, in seconds."""
        return self.now() - self.on_air_since


STATE: web.AppKey[Sandbox] = web.AppKey("sandbox", Sandbox)


async def send_fault(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Send an injected fault in place of the normal response."""
    status = fault.status or 500
    if fault.cut == "before":
        assert request.transport is not None  # noqa: S101  # set while a request is handled
        request.transport.abort()
        return web.Response(status=status)
    if not fault.cut:
        headers = {"Content-Type": "application/json", **dict(fault.headers)}
        return web.Response(status=status, body=fault.body.encode(), headers=headers)
    response = web.StreamResponse(status=status, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"half": "')
    while fault.cut == "drip":
        await asyncio.sleep(DRIP_SECONDS)
        await response.write(b".")
    assert request.transport is not None  # noqa: S101  # as above
    request.transport.abort()
    return response
