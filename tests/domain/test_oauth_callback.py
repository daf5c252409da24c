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
        ([("code", "c"), ("state", "")], "The state in this URL does not belong"),
        ([("code", "c"), ("state", "s" * 42)], "The state in this URL does not belong"),
        ([("code", "c"), ("state", "é")], "The state in this URL does not belong"),
        ([("code", "c"), ("state", STATE), ("state", STATE)], "repeats a parameter"),
        ([("code", "c"), ("code", "d"), ("state", STATE)], "repeats a parameter"),
        ([("state", STATE)], "no code"),
        ([("code", ""), ("state", STATE)], "no code"),
        ([("error", "access_denied"), ("state", "x")], "The state in this URL does not belong"),
    ],
)
def test_every_other_is_refused(query, says):
    with pytest.raises(CallbackInvalid, match=says):
        read_callback(query, state=STATE)


def test_a_no_is_a_no_only_with_our_state():
    with pytest.raises(AuthorizationDenied, match="'access_denied'"):
        read_callback([("error", "access_denied"), ("state", STATE)], state=STATE)
