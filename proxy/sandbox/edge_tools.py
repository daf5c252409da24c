"""What the sandbox's pages can ask of the edge in front of it.

The sandbox imports nothing of the product; `playgate demo` hands these functions in.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

PortName = Literal["player", "operator"]


class EdgeRefused(Exception):
    """The edge does not do that; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MintForm:
    """A token to mint, as a person wrote it."""

    video: str
    ttl: str = ""  # seconds; the edge's default if empty
    ip: str = ""  # an address or a network; any viewer if empty


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedLinks:
    """A fresh token, and where it plays."""

    token: str
    play_url: str
    page_url: str
    expires_in: int  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainForm:
    """A token to explain, as a person pasted it."""

    token: str
    video: str = ""  # the URL's if empty
    ip: str = "127.0.0.1"  # no viewer if empty


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedToken:
    """What the token says, each check as (status, name, text), and the edge's answer."""

    content: tuple[str, ...]
    checks: tuple[tuple[str, str, str], ...]
    conclusion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTools:
    """The edge's functions. `mint` and `explain` raise EdgeRefused."""

    mint: Callable[[MintForm], MintedLinks]
    explain: Callable[[ExplainForm], Awaitable[ExplainedToken]]
    describe: Callable[[PortName], dict[str, Any]]  # its OpenAPI document
    urls: Mapping[PortName, str]
    binds_on_first_use: Callable[[], bool]
    bind_on_first_use: Callable[[bool], None]
