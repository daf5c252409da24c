"""What one setting's value must look like: each takes a value and returns it, or says so."""

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
# What a state's URL may have in its query.
STATE_OPTIONS = {"rediss": {"ssl_ca_certs"}}

MIN_OPERATOR_KEY_LENGTH = 16  # characters
MAX_HOST_LENGTH = 253  # characters, RFC 1035


def check_url(text: str) -> str:
    """Take an absolute URL, and take the slash from its end."""
    try:
        url = URL(text) if re.fullmatch(r"[\w\-.~:/?#\[\]@=%]+", text, re.ASCII) else URL()
        extra = url.user or url.password or url.query_string or url.fragment
        host = (url.host or "").encode("idna")  # as it will be looked up: no label empty or long
    except ValueError:
        url, extra, host = URL(), "", b""
    is_host = 0 < len(host) <= MAX_HOST_LENGTH and "%" not in url.raw_authority
    if url.scheme not in {"http", "https"} or not is_host or extra:
        raise ValueError("must be a URL such as https://play.example.com")
    return text.rstrip("/")


def _check_optional_url(text: str) -> str:
    return check_url(text) if text else text


def check_public_url(text: str) -> str:
    """Take the URL of a host, or nothing: the routes are at its root."""
    checked = _check_optional_url(text)
    if URL(checked).path not in {"", "/"}:
        raise ValueError("must have no path: players are sent to /play/… of this host")
    return checked


def check_line(text: str) -> str:
    """Take a text of one line, as credentials are."""
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text) is not None:
        raise ValueError("must be one line without control characters")
    return text


def _check_secret_line(secret: SecretStr) -> SecretStr:
    check_line(secret.get_secret_value())
    return secret


def check_origin(text: str) -> str:
    """Take the origin of a site, as it stands in a Content-Security-Policy."""
    if re.fullmatch(r"https?://(\*\.)?[a-z0-9.-]+(:[0-9]{1,5})?", text) is None:
        raise ValueError("must be an origin such as https://www.example.com")
    return text


def check_redirect_uri(text: str) -> str:
    """Take what an API key's callback URL may be: https, or http on this machine (RFC 8252, 7.3).

    It is compared character by character at Dailymotion, so nothing is taken from its end.
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
    """Take a key that cannot be guessed, or none."""
    if 0 < len(key.get_secret_value()) < MIN_OPERATOR_KEY_LENGTH:
        raise ValueError(f"is shorter than {MIN_OPERATOR_KEY_LENGTH} characters")
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
        raise ValueError(f"takes only ssl_ca_certs in its query, of rediss, not {min(unknown)}")
    return url


def check_listen(text: str) -> str:
    """Take an address to listen on."""
    parse_listen(text)
    return text


def check_network(text: str) -> str:
    """Take an address or a network."""
    try:
        parse_trusted_network(text)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return text


def check_optional_address(text: str) -> str:
    """Take an address, or nothing."""
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise ValueError("must be an address such as 203.0.113.7") from None


def check_allowed_host(text: str) -> str:
    """Take a host name, with a port where it is not the default one."""
    if re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", text) is None or text.startswith("."):
        raise ValueError("must be a host in lower case, such as dailymotion.com")
    return text


def check_pattern(text: str) -> str:
    """Take a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def check_rate(text: str) -> str:
    """Take a rate, or several of them, or nothing."""
    parse_rates(text)
    return text


def check_path_rule(text: str) -> str:
    """Take a regular expression that names the video."""
    if "video" not in re.compile(check_pattern(text)).groupindex:
        raise ValueError("must have a group (?P<video>…)")
    return text


def check_header_name(text: str) -> str:
    """Take the name of a header that lists addresses."""
    if text.lower() == "forwarded":
        raise ValueError("Forwarded (RFC 7239) is not read; use X-Forwarded-For or X-Real-IP")
    if re.fullmatch(r"[A-Za-z0-9-]+", text) is None:
        raise ValueError("must be a header name")
    return text


OptionalPath = Annotated[str, AfterValidator(_check_optional_path)]
OptionalUrl = Annotated[str, AfterValidator(_check_optional_url)]
OneLineText = Annotated[str, AfterValidator(check_line)]
OneLineSecret = Annotated[SecretStr, AfterValidator(_check_secret_line)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """A table of the settings file: unknown keys are errors, and no error repeats a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


TCP_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
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


def parse_listen(text: str) -> ListenAddress:
    """Return a listening address.

    Raises:
        ValueError: it is none.
    """
    if text.startswith("unix:/"):
        return ListenAddress("", 0, text.removeprefix("unix:"))
    match = TCP_ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise ValueError("must be HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


def is_loopback_host(host: str) -> bool:
    """Say whether a host, as URLs and listeners name it, is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
