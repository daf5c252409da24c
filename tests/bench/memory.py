"""Measure an edge's memory growth by distinct viewers: `python -m bench.memory 100000 1000000`.

No socket is involved. As in a play, each viewer's token is verified, admitted, bound to its network
and counted for limits.
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


def read_resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def encode_base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def mint(n: int, now: int) -> str:
    """Return the token of the nth viewer."""
    claims = {
        "video": VIDEO,
        "iat": now,
        "exp": now + 3600,
        "jti": f"{n:016}",
        "sub": f"viewer-{n}",
    }
    signing_input = f"{encode_base64(HEADER)}.{encode_base64(json.dumps(claims).encode())}"
    return f"{signing_input}.{encode_base64(digest(SECRET.encode(), signing_input.encode(), 'sha256'))}"


async def play(admission: Admission, n: int, now: int) -> None:
    """Admit a play of the nth viewer."""
    viewer = IPv4Address(0x08000000 + n * 256 + 1)  # each viewer in another network
    request = PlayRequest(
        video=VIDEO,
        viewer=viewer,
        client_ip=viewer,
        formats=("hls",),
        method="GET",
        token=mint(n, now),
    )
    await admission.admit(request, await admission.verify(request.token))


async def main(counts: list[int]) -> None:
    """Print the growth in bytes after each number of viewers, as lines of JSON."""
    settings = load_settings(SANDBOX_TOML, tokens={"bind_on_first_use": True}, limits=LIMITS)
    async with open_apps(settings, log=build_logger(StringIO()), clock=Clock()) as apps:
        admission, before, now = apps.services.admission, read_resident_bytes(), int(time())
        for n in range(max(counts)):
            await play(admission, n, now)
            if n + 1 in counts:
                growth = {"viewers": n + 1, "bytes": read_resident_bytes() - before}
                sys.stdout.write(json.dumps(growth) + "\n")


if __name__ == "__main__":
    asyncio.run(main([int(count) for count in sys.argv[1:]]))
