"""Check the URLs that the edge redirects players to or fetches from."""

import re
from collections.abc import Sequence

from proxy.domain.reasons import Reason, Refusal

# Only characters of RFC 3986. Signed URLs contain "(", ")" and "%2f" and must not be changed.
# Parsers disagree about backslashes, spaces and control characters.
URL_TEXT = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,8192}", re.ASCII)

# Scheme, host name and optional port; no percent-encoding, brackets or credentials.
ORIGIN = re.compile(
    r"(?P<scheme>[a-z]+)://"
    r"(?P<host>(?=[^:/?#]{1,253}(?:[:/?#]|\Z))[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?=[/?#]|\Z)",
    re.ASCII,
)


class AllowedHosts:
    """Allowlist of the hosts that the edge redirects players to and fetches from.

    A host without a port (`dailymotion.com`) also allows its subdomains, on the default port only.
    A host with a port (`127.0.0.1:8090`) allows exactly that host and port.
    """

    def __init__(self, hosts: Sequence[str], *, plain_http: bool) -> None:
        """Allow the hosts, over https only; `plain_http` also allows http, for the sandbox."""
        self._hosts = tuple(hosts)
        self._plain_http = plain_http

    def occur_in(self, text: str) -> bool:
        """Return whether the name of an allowed host occurs in a text, which thus reveals it."""
        lower = text.lower()
        return any(host in lower for host in self._hosts)

    def check(self, url: str) -> str:
        """Return an absolute URL unchanged if it is allowed.

        Raises:
            Refusal: `stream-host-not-allowed`.
        """
        if URL_TEXT.fullmatch(url) is None:
            raise _build_refusal("the URL contains characters that URLs must not contain")
        if (origin := ORIGIN.match(url)) is None:
            raise _build_refusal(
                "the URL is not absolute, has credentials, or has an invalid host name"
            )
        scheme, host, port = origin["scheme"], origin["host"].lower(), origin["port"]
        if scheme != "https" and not (self._plain_http and scheme == "http"):
            raise _build_refusal("the URL is not https")
        if not any(_is_covered(host, port, allowed) for allowed in self._hosts):
            raise _build_refusal(f"the host {host} is not in platform.allowed_hosts")
        return url


def _is_covered(host: str, port: str | None, allowed: str) -> bool:
    if ":" in allowed:
        return f"{host}:{port}" == allowed
    return port is None and (host == allowed or host.endswith(f".{allowed}"))


def _build_refusal(cause: str) -> Refusal:
    return Refusal(Reason.STREAM_HOST_NOT_ALLOWED, cause)
