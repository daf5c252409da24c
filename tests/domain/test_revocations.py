"""What is taken back, and what is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.reasons import Refusal
from proxy.domain.revocations import FOREVER, KINDS, Longest, Revocation, RevocationList

NOW = 1_800_000_000
PLAY = {"video": "x8abcd", "jti": "one", "subject": "viewer-7", "issued_at": NOW}


LONGEST = Longest(validity=3600, leeway=5)


def a_revocation(kind="sub", value="viewer-7", before=NOW, at=NOW) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, at=at)


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [
        (a_revocation("jti", "one", FOREVER), True),
        (a_revocation("jti", "two", FOREVER), False),
        (a_revocation("sub", "viewer-7"), True),
        (a_revocation("sub", "viewer-70"), False),
        (a_revocation("sub", "one"), False),
        (a_revocation("sub", "viewer-7", NOW - 1), False),
        (a_revocation("sub", "viewer-7", NOW + 1), True),
        (a_revocation("video", "x8abcd"), True),
        (a_revocation("video", "x8abc"), False),
        (a_revocation("video", "x8abcd", NOW - 1), False),
    ],
)
def test_what_is_named_and_was_issued_in_time_is_refused(told, is_refused):
    taken_back = RevocationList()
    taken_back.check(**PLAY)
    taken_back.add(told)
    if not is_refused:
        taken_back.check(**PLAY)
        return
    with pytest.raises(Refusal, match=f"token-revoked: by {told.kind}"):
        taken_back.check(**PLAY)


def test_a_token_without_names_is_reached_through_its_video_alone():
    taken_back = RevocationList()
    taken_back.add(a_revocation("sub", "None"))
    nameless = {**PLAY, "jti": None, "subject": None}
    taken_back.check(**nameless)
    taken_back.add(a_revocation("video", "x8abcd"))
    with pytest.raises(Refusal, match="by video"):
        taken_back.check(**nameless)


revocations = st.builds(
    Revocation,
    kind=st.sampled_from(KINDS),
    value=st.sampled_from(["one", "two"]),
    before=st.integers(0, FOREVER),
    at=st.integers(0, FOREVER),
)


@given(st.lists(revocations), st.randoms())
def test_the_order_of_news_does_not_matter_and_nothing_gets_weaker(told, randomness):
    one, other = RevocationList(), RevocationList()
    for revocation in told:
        one.add(revocation)
    shuffled = [*told, *told]
    randomness.shuffle(shuffled)
    for revocation in shuffled:
        other.add(revocation)
    assert set(one) == set(other)
    assert all(revocation in one for revocation in told)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (a_revocation(), 3601),
        (a_revocation(before=NOW - 1000), 2601),
        (a_revocation(before=NOW + 5), 3606),
        (a_revocation("jti", "one", FOREVER), 3606),
    ],
)
def test_what_concerns_nothing_any_more_is_forgotten(told, seconds):
    taken_back = RevocationList()
    taken_back.add(told)
    taken_back.forget(NOW + seconds - 1, LONGEST)
    assert told in taken_back
    taken_back.forget(NOW + seconds, LONGEST)
    assert (told in taken_back, len(taken_back)) == (False, 0)


def test_where_tokens_are_good_for_longer_it_is_kept_for_longer():
    """Also what was taken back before that was set."""
    taken_back = RevocationList()
    taken_back.add(a_revocation())
    taken_back.forget(NOW + 5000, Longest(validity=7200, leeway=5))
    assert len(taken_back) == 1


@given(revocations)
def test_what_is_told_is_understood(revocation):
    assert Revocation.from_json(revocation.to_json()) == revocation


@pytest.mark.parametrize(
    "text",
    ["", "null", "{}", "[]", json.dumps(["jti", "x", 1]), json.dumps(["iss", "x", 1, 2]),
     json.dumps(["jti", 1, 1, 2]), json.dumps(["jti", "x", True, 2]), json.dumps(["jti", "x", 1, 2.5]),
     json.dumps([["jti"], "x", 1, 2]), "[" * 100_000],
)  # fmt: skip
def test_what_is_no_revocation_is_told_from_one(text):
    with pytest.raises(ValueError):  # noqa: PT011  # json's own has many texts
        Revocation.from_json(text)
