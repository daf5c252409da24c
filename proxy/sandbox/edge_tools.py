"""What the sandbox's pages can ask of the edge in front of it.

The sandbox imports nothing of the product; `playgate demo` hands in what does this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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


class EdgeTools(Protocol):
    """The edge, as the pages use it."""

    @property
    def urls(self) -> Mapping[PortName, str]:
        """Where its ports are."""

    def mint(self, form: MintForm) -> MintedLinks:
        """Return a fresh token and its links, or raise EdgeRefused."""

    async def explain(self, form: ExplainForm) -> ExplainedToken:
        """Return what the edge makes of a token, or raise EdgeRefused."""

    def describe(self, port: PortName) -> dict[str, Any]:
        """Return the OpenAPI document of a port."""

    def binds_on_first_use(self) -> bool:
        """Say whether tokens.bind_on_first_use is set."""

    def bind_on_first_use(self, *, is_on: bool) -> None:
        """Set tokens.bind_on_first_use."""
