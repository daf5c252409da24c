"""Read the authorization code from the OAuth callback of `playgate login`.

The callback must contain the `state` of this login (RFC 6749, 4.1.2 and 10.12). Otherwise an
attacker could make a user's browser deliver the code of the attacker's account.
"""

from collections.abc import Mapping, Sequence
from hmac import compare_digest


class CallbackInvalid(Exception):
    """The callback does not belong to this login; the text is shown to the user."""


class AuthorizationDenied(Exception):
    """Dailymotion or the user denied the authorization; the text is shown to the user."""


def read_callback(query: Sequence[tuple[str, str]], *, state: str) -> str:
    """Return the authorization code from the query of a callback.

    Raises:
        CallbackInvalid: the callback does not belong to this login; the right one may still follow.
        AuthorizationDenied: the authorization of this login was denied.
    """
    if len({name for name, _ in query}) != len(query):
        raise CallbackInvalid("This URL repeats a parameter.")
    parameters: Mapping[str, str] = dict(query)
    if "state" not in parameters:
        raise CallbackInvalid(
            "This URL has no state parameter, so it does not belong to this login."
        )
    if not compare_digest(parameters["state"].encode(), state.encode()):
        raise CallbackInvalid("The state in this URL does not belong to this login.")
    if "error" in parameters:
        raise AuthorizationDenied(
            f"Dailymotion denied the authorization ({parameters['error'][:60]!r})."
        )
    if not parameters.get("code"):
        raise CallbackInvalid("This URL has no code parameter.")
    return parameters["code"]
