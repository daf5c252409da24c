"""Where a port listens: `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/playgate/player.sock`."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

TCP = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP address (port 0 lets the system choose) or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can reach it."""
        return bool(self.path) or is_loopback_host(self.host)


def parse_listen(text: str) -> Listen:
    """Return a listening address.

    Raises:
        ValueError: it is none.
    """
    if text.startswith("unix:/"):
        return Listen("", 0, text.removeprefix("unix:"))
    match = TCP.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError("must be HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return Listen(match["v6"] or match["host"], int(match["port"]))


def is_loopback_host(host: str) -> bool:
    """Say whether a host, as URLs and listeners name it, is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
