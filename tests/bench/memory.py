"""How much an edge grows by viewers whom it has never seen: `python -m bench.memory 100000 1000000`.

No socket is in between: each viewer's token is verified, admitted, bound to its network and counted
for limits, as in a play, and only then forgotten again, or not.
"""

import asyncio
import gc
import json
import os
import sys
from base64 import urlsafe_b64encode
from hmac import digest
from io import StringIO
from ipaddress import IPv4Address
from pathlib import Path
from time import time

from support import SANDBOX_TOML, SECRET

from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.app import open_apps
from proxy.domain.play_request import PlayRequest
from proxy.domain.video import VideoId
from proxy.edge.admission import Admission
from proxy.settings import load_settings

VIDEO = VideoId("x8abcd")
LIMITS = {"network": "100000/minute"}
HEADER = b'{"alg":"HS256","kid":"sandbox","typ":"JWT"}'


def resident() -> int:
    """Return the bytes that this process has in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def mint(n: int, now: int) -> str:
    claims = {
        "video": VIDEO,
        "iat": now,
        "exp": now + 3600,
        "jti": f"{n:016}",
        "sub": f"viewer-{n}",
    }
    signed = f"{b64(HEADER)}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(digest(SECRET.encode(), signed.encode(), 'sha256'))}"


async def play(admission: Admission, n: int, now: int) -> None:
    viewer = IPv4Address(0x08000000 + n * 256 + 1)  # each in a network of its own
    wanted = PlayRequest(
        video=VIDEO,
        viewer=viewer,
        client_ip=viewer,
        formats=("hls",),
        method="GET",
        token=mint(n, now),
    )
    await admission.admit(wanted, await admission.verify(wanted.token))


async def main(counts: list[int]) -> None:
    settings = load_settings(SANDBOX_TOML, tokens={"bind_on_first_use": True}, limits=LIMITS)
    async with open_apps(settings, log=build_logger(StringIO()), clock=Clock()) as apps:
        admission, before, now = apps.services.admission, resident(), int(time())
        for n in range(max(counts)):
            await play(admission, n, now)
            if n + 1 in counts:
                grown = {"viewers": n + 1, "bytes": resident() - before}
                sys.stdout.write(json.dumps(grown) + "\n")


if __name__ == "__main__":
    asyncio.run(main([int(count) for count in sys.argv[1:]]))
