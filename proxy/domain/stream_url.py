"""Which stream URLs a player may be sent to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from proxy.domain.reasons import Reason, Refusal

# RFC 3986's characters and no others. Signed URLs carry "(", ")" and "%2f" and must stay as they
# came; a backslash, a space or a control character is read differently by different parsers.
URL_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,8192}", re.ASCII)

# Scheme, host name and perhaps a port: nothing encoded, no brackets, no credentials.
BEGINNING = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?P<host>(?=[^:/?#]{1,253}(?:[:/?#]|\Z))[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?=[/?#]|\Z)",
    re.ASCII,
)


def check_stream_url(text: str, allowed_hosts: Sequence[str], *, plain_http: bool) -> str:
    """Return the URL untouched if a player may be sent there, or refuse.

    Args:
        text: what the platform gave.
        allowed_hosts: `dailymotion.com` stands for itself and its subdomains on the default port;
            `127.0.0.1:8090` stands for exactly that.
        plain_http: whether http will do; the sandbox's privilege.
    """
    if URL_TEXT.fullmatch(text) is None:
        raise _refused("it has characters that no URL has")
    if (begins := BEGINNING.match(text)) is None:
        raise _refused("it is not a URL, it carries credentials, or its host is no plain name")
    scheme, host, port = begins["scheme"], begins["host"].lower(), begins["port"]
    if scheme != "https" and not (plain_http and scheme == "http"):
        raise _refused("it is not https")
    if not any(_is_covered(host, port, allowed) for allowed in allowed_hosts):
        raise _refused(f"its host, {host}, is not in platform.allowed_hosts")
    return text


def _is_covered(host: str, port: str | None, allowed: str) -> bool:
    if ":" in allowed:
        return f"{host}:{port}" == allowed
    return port is None and (host == allowed or host.endswith(f".{allowed}"))


def _refused(why: str) -> Refusal:
    return Refusal(Reason.STREAM_HOST_NOT_ALLOWED, why)
