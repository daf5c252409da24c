"""Which callbacks are the answer to our own question."""

import pytest

from proxy.domain.oauth_callback import AuthorizationDenied, CallbackInvalid, read_callback

STATE = "s" * 43


def test_the_code_of_our_own_state_is_taken():
    assert read_callback([("code", "c"), ("state", STATE), ("more", "")], state=STATE) == "c"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ([], "no state"),
        ([("code", "c")], "no state"),
        ([("code", "c"), ("state", "")], "not the one of this login"),
        ([("code", "c"), ("state", "s" * 42)], "not the one of this login"),
        ([("code", "c"), ("state", "é")], "not the one of this login"),
        ([("code", "c"), ("state", STATE), ("state", STATE)], "twice"),
        ([("code", "c"), ("code", "d"), ("state", STATE)], "twice"),
        ([("state", STATE)], "no code"),
        ([("code", ""), ("state", STATE)], "no code"),
        ([("error", "access_denied"), ("state", "x")], "not the one of this login"),
    ],
)
def test_every_other_is_refused(query, says):
    with pytest.raises(CallbackInvalid, match=says):
        read_callback(query, state=STATE)


def test_a_no_is_a_no_only_with_our_state():
    with pytest.raises(AuthorizationDenied, match="'access_denied'"):
        read_callback([("error", "access_denied"), ("state", STATE)], state=STATE)
