"""The authorization code that a browser brings back, and whether it is the one we sent it for.

RFC 6749, 4.1.2 and 10.12: without the right `state`, anybody could have a user's browser bring in
the code of an account of theirs.
"""

from collections.abc import Mapping, Sequence
from hmac import compare_digest


class CallbackInvalid(Exception):
    """What came back is no code for us; the text is for the user."""


class AuthorizationDenied(Exception):
    """Dailymotion, or the user there, said no; the text is for the user."""


def read_callback(query: Sequence[tuple[str, str]], *, state: str) -> str:
    """Return the code of a callback.

    Raises:
        CallbackRefused: it is not the answer to our question; the answer may still come.
        AuthorizationDenied: it is, and the answer is no.
    """
    if len({name for name, _ in query}) != len(query):
        raise CallbackInvalid("A parameter of this address is there twice.")
    given: Mapping[str, str] = dict(query)
    if "state" not in given:
        raise CallbackInvalid("This address has no state: it does not come from this login.")
    if not compare_digest(given["state"].encode(), state.encode()):
        raise CallbackInvalid("The state in this address is not the one of this login.")
    if "error" in given:
        raise AuthorizationDenied(f"Dailymotion did not let you in ({given['error'][:60]!r}).")
    if not given.get("code"):
        raise CallbackInvalid("This address has no code.")
    return given["code"]
