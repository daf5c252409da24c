"""Tests of the OAuth callback of `playgate login`."""

import pytest

from proxy.domain.oauth_callback import AuthorizationDenied, CallbackInvalid, read_callback

STATE = "s" * 43


def test_a_callback_with_the_right_state_gives_its_code():
    assert read_callback([("code", "c"), ("state", STATE), ("more", "")], state=STATE) == "c"


@pytest.mark.parametrize(
    ("query", "message"),
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
def test_an_invalid_callback_is_refused(query, message):
    with pytest.raises(CallbackInvalid, match=message):
        read_callback(query, state=STATE)


def test_a_denial_with_the_right_state_is_reported_as_a_denial():
    with pytest.raises(AuthorizationDenied, match="'access_denied'"):
        read_callback([("error", "access_denied"), ("state", STATE)], state=STATE)
