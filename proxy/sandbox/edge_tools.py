"""The interface through which the sandbox's pages use the edge in front of the sandbox.

The sandbox imports no other part of Playgate, so `playgate demo` passes in the implementation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

PortName = Literal["player", "operator"]


class EdgeRefused(Exception):
    """The edge refuses a form. The message is a sentence to show to the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MintForm:
    """The form that mints a token, as the user filled it in."""

    video: str
    ttl: str = ""  # seconds; the edge's default if empty
    ip: str = ""  # an address or a network; any viewer if empty


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedLinks:
    """A new token and its URLs."""

    token: str
    play_url: str  # empty if the token is for every video
    page_url: str  # of the player page
    expires_in: int  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainForm:
    """The form that explains a token, as the user filled it in."""

    token: str  # a token, or a URL with a token
    video: str = ""  # the video of the URL if empty
    ip: str = "127.0.0.1"  # not checked if empty


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedToken:
    """The explanation of a token.

    Attributes:
        content: lines that show the header and the claims.
        checks: status, name and text of each check.
        conclusion: a sentence that says how the edge responds to the token.
    """

    content: tuple[str, ...]
    checks: tuple[tuple[str, str, str], ...]
    conclusion: str


class EdgeTools(Protocol):
    """The functions of the edge that the pages use."""

    @property
    def urls(self) -> Mapping[PortName, str]:
        """The base URLs of the edge's ports."""

    def mint(self, form: MintForm) -> MintedLinks:
        """Mint a token and return its links.

        Raises:
            EdgeRefused: a field of the form is invalid.
        """

    async def explain(self, form: ExplainForm) -> ExplainedToken:
        """Explain how the edge checks a token.

        Raises:
            EdgeRefused: a field of the form is invalid.
        """

    def describe(self, port: PortName) -> dict[str, Any]:
        """Return the OpenAPI document of a port."""

    def binds_on_first_use(self) -> bool:
        """Return whether `tokens.bind_on_first_use` is on."""

    def bind_on_first_use(self, *, is_on: bool) -> None:
        """Turn `tokens.bind_on_first_use` on or off."""
