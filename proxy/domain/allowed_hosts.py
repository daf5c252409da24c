"""Which URLs a player may be sent to, and the edge may fetch."""

import re
from collections.abc import Sequence

from proxy.domain.reasons import Reason, Refusal

# RFC 3986's characters and no others. Signed URLs carry "(", ")" and "%2f" and must stay as they
# came; a backslash, a space or a control character is read differently by different parsers.
URL_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,8192}", re.ASCII)

# Scheme, host name and perhaps a port: nothing encoded, no brackets, no credentials.
ORIGIN = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?P<host>(?=[^:/?#]{1,253}(?:[:/?#]|\Z))[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?=[/?#]|\Z)",
    re.ASCII,
)


class AllowedHosts:
    """The hosts that players may be sent to, and that the edge fetches from.

    `dailymotion.com` stands for itself and its subdomains on the default port; `127.0.0.1:8090`
    stands for exactly that.
    """

    def __init__(self, hosts: Sequence[str], *, plain_http: bool) -> None:
        """Take the hosts; `plain_http` is the sandbox's privilege."""
        self._hosts = tuple(hosts)
        self._plain_http = plain_http

    def check(self, url: str) -> str:
        """Return an absolute URL untouched if it is allowed, or refuse."""
        if URL_TEXT.fullmatch(url) is None:
            raise _build_refusal("it has characters that no URL has")
        if (begins := ORIGIN.match(url)) is None:
            raise _build_refusal(
                "it is not a URL, it carries credentials, or its host is no plain name"
            )
        scheme, host, port = begins["scheme"], begins["host"].lower(), begins["port"]
        if scheme != "https" and not (self._plain_http and scheme == "http"):
            raise _build_refusal("it is not https")
        if not any(_is_covered(host, port, allowed) for allowed in self._hosts):
            raise _build_refusal(f"its host, {host}, is not in platform.allowed_hosts")
        return url


def _is_covered(host: str, port: str | None, allowed: str) -> bool:
    if ":" in allowed:
        return f"{host}:{port}" == allowed
    return port is None and (host == allowed or host.endswith(f".{allowed}"))


def _build_refusal(why: str) -> Refusal:
    return Refusal(Reason.STREAM_HOST_NOT_ALLOWED, why)
