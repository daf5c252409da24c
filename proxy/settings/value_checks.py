"""Validate the values of single settings.

Each check returns the value, or raises ValueError with a message that follows the setting's name.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from yarl import URL

from proxy.domain.client_ip import parse_trusted_network
from proxy.domain.rates import parse_rates

ENCODING = "utf-8-sig"  # of files: UTF-8, with or without a byte order mark
MEMORY = "memory://"
# Query parameters that state.url may have, by scheme.
STATE_OPTIONS = {"rediss": {"ssl_ca_certs"}}

MIN_OPERATOR_KEY_LENGTH = 16  # characters
MAX_HOST_LENGTH = 253  # characters, RFC 1035


def check_url(text: str) -> str:
    """Check an absolute URL without credentials, query and fragment; strip trailing slashes."""
    try:
        url = URL(text) if re.fullmatch(r"[\w\-.~:/?#\[\]@=%]+", text, re.ASCII) else URL()
        extra = url.user or url.password or url.query_string or url.fragment
        host = (url.host or "").encode("idna")  # the form for DNS; rejects empty and long labels
    except ValueError:
        url, extra, host = URL(), "", b""
    is_host = 0 < len(host) <= MAX_HOST_LENGTH and "%" not in url.raw_authority
    if url.scheme not in {"http", "https"} or not is_host or extra:
        raise ValueError(
            "must be an http or https URL without user, query and fragment, such as "
            "https://play.example.com"
        )
    return text.rstrip("/")


def _check_optional_url(text: str) -> str:
    return check_url(text) if text else text


def check_public_url(text: str) -> str:
    """Check a URL without a path: the edge's routes are at the root. May be empty."""
    checked = _check_optional_url(text)
    if URL(checked).path not in {"", "/"}:
        raise ValueError("must not have a path: Playgate serves /play/… at the root of its host")
    return checked


def check_line(text: str) -> str:
    """Check that a text is one line without control characters."""
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text) is not None:
        raise ValueError("must be one line without control characters")
    return text


def _check_secret_line(secret: SecretStr) -> SecretStr:
    check_line(secret.get_secret_value())
    return secret


def check_origin(text: str) -> str:
    """Check the origin of a site, as used in a Content-Security-Policy."""
    if re.fullmatch(r"https?://(\*\.)?[a-z0-9.-]+(:[0-9]{1,5})?", text) is None:
        raise ValueError("must be an origin such as https://www.example.com")
    return text


def check_redirect_uri(text: str) -> str:
    """Check an API key's callback URL: https, or http on loopback (RFC 8252, 7.3).

    Keeps a trailing slash, since Dailymotion compares callback URLs character by character.
    """
    check_url(text)
    url = URL(text)
    if url.scheme != "https" and not is_loopback_host(url.host or ""):
        raise ValueError("must be https, or http on 127.0.0.1 or localhost")
    return text


def _check_optional_path(text: str) -> str:
    if text and not (Path(text).is_absolute() and Path(text).name):
        raise ValueError("must be the absolute path of a file")
    return text


def check_operator_key(key: SecretStr) -> SecretStr:
    """Check that a key is long enough, or empty."""
    if 0 < len(key.get_secret_value()) < MIN_OPERATOR_KEY_LENGTH:
        raise ValueError(
            f"is shorter than {MIN_OPERATOR_KEY_LENGTH} characters; "
            "create a key: openssl rand -hex 32"
        )
    return key


def check_state_url(url: SecretStr) -> SecretStr:
    """Check the state URL; messages never repeat it, since it may contain a password."""
    text = url.get_secret_value()
    if text == MEMORY:
        return url
    try:
        parsed = URL(text)
        is_redis = parsed.scheme in {"redis", "rediss"} and bool(parsed.host)
        is_numbered = re.fullmatch(r"/?[0-9]*", parsed.path, re.ASCII) is not None
    except ValueError:
        is_redis = is_numbered = False
    if not is_redis or not is_numbered or parsed.fragment:
        raise ValueError(
            "must be memory://, redis://HOST:PORT/0 or rediss://USER:PASSWORD@HOST:PORT/0"
        )
    if unknown := set(parsed.query) - STATE_OPTIONS.get(parsed.scheme, set()):
        raise ValueError(
            f"has the unknown query parameter {min(unknown)}; "
            "only ssl_ca_certs is allowed, with rediss://"
        )
    return url


def check_listen(text: str) -> str:
    """Check an address to listen on."""
    parse_listen(text)
    return text


def check_network(text: str) -> str:
    """Check an IP address or network."""
    try:
        parse_trusted_network(text)
    except ValueError:
        raise ValueError("must be an IP address or a network such as 10.0.0.0/8") from None
    return text


def check_optional_address(text: str) -> str:
    """Check an IP address; may be empty."""
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise ValueError("must be an IP address such as 203.0.113.7") from None


def check_allowed_host(text: str) -> str:
    """Check a lower-case host name, optionally with a port."""
    if re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", text) is None or text.startswith("."):
        raise ValueError("must be a lower-case host name such as dailymotion.com")
    return text


def check_pattern(text: str) -> str:
    """Check that a text is a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def check_rate(text: str) -> str:
    """Check one or more rates, separated by semicolons; may be empty."""
    parse_rates(text)
    return text


def check_path_rule(text: str) -> str:
    """Check that a text is a regular expression with a group named `video`."""
    if "video" not in re.compile(check_pattern(text)).groupindex:
        raise ValueError("must contain the group (?P<video>…), which matches the video ID")
    return text


def check_header_name(text: str) -> str:
    """Check the name of a header that contains client addresses."""
    if text.lower() == "forwarded":
        raise ValueError("Forwarded (RFC 7239) is not supported; use X-Forwarded-For or X-Real-IP")
    if re.fullmatch(r"[A-Za-z0-9-]+", text) is None:
        raise ValueError("must be a header name such as X-Forwarded-For")
    return text


OptionalPath = Annotated[str, AfterValidator(_check_optional_path)]
OptionalUrl = Annotated[str, AfterValidator(_check_optional_url)]
OneLineText = Annotated[str, AfterValidator(check_line)]
OneLineSecret = Annotated[SecretStr, AfterValidator(_check_secret_line)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """A table of the settings file: rejects unknown settings; errors never repeat a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


TCP_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address or the path of a Unix socket; with port 0, the system chooses a free port."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address; true for Unix sockets."""
        return bool(self.path) or is_loopback_host(self.host)


def parse_listen(text: str) -> ListenAddress:
    """Parse HOST:PORT, [IPV6]:PORT or unix:/PATH.

    Raises:
        ValueError: the text has none of these forms.
    """
    if text.startswith("unix:/"):
        return ListenAddress("", 0, text.removeprefix("unix:"))
    match = TCP_ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError("must be HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def is_loopback_host(host: str) -> bool:
    """Check whether the host of a URL or listener is localhost or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
