"""What the sandbox remembers while it runs."""

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
    """One Dailymotion on this machine; times in seconds since 1970."""

    accounts: Accounts = field(default_factory=Accounts)
    origin: str = ""  # known once the port is
    locks: Locks = field(default_factory=lambda: Locks(ttl=4 * 3600))
    controls: Controls = field(default_factory=Controls)
    videos: dict[str, Video] = field(default_factory=lambda: dict(VIDEOS))
    now: Callable[[], float] = time.time
    uploads: dict[str, int] = field(default_factory=dict)  # bytes that came, by ticket
    ranges: deque[str] = field(default_factory=lambda: deque(maxlen=100))  # of files, as asked for
    edge: EdgeTools | None = None  # in front of this sandbox
    went_on_air: float = field(init=False)

    def __post_init__(self) -> None:
        """Put the channels on the air an hour before anybody looks."""
        # Not in 1970: hls.js needs seconds for a playlist that is 150 million discontinuities old.
        self.went_on_air = self.now() - 3600

    def get_time_on_air(self) -> float:
        """Return how long the channels have been on the air, in seconds."""
        return self.now() - self.went_on_air


STATE: web.AppKey[Sandbox] = web.AppKey("sandbox", Sandbox)


async def send_fault(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Give the fault instead of an answer."""
    status = fault.status or 500
    if fault.cut == "before":
        assert request.transport is not None  # noqa: S101  # there is one while handling
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
