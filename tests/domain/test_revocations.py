"""What is taken back, and what is not."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.reasons import Refusal
from proxy.domain.revocations import (
    MAX_REVOCATIONS,
    REVOCATION_KINDS,
    Revocation,
    RevocationList,
    RevocationProofs,
    ValidityLimit,
)
from proxy.domain.tokens.claims import MAX_TIMESTAMP, read_claims

NOW = 1_800_000_000
TOKEN = read_claims({"video": "*", "iat": NOW, "exp": NOW + 60, "jti": "one", "sub": "viewer-7"})
PLAY = ("x8abcd", TOKEN)


LONGEST = ValidityLimit(validity=3600, leeway=5)


def a_revocation(kind="sub", value="viewer-7", before=NOW, at=NOW, **more) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, at=at, **more)


@pytest.mark.parametrize(
    ("told", "is_refused"),
    [
        (a_revocation("jti", "one", NOW - 9), True),
        (a_revocation("jti", "two"), False),
        (a_revocation("sub", "viewer-7"), True),
        (a_revocation("sub", "viewer-70"), False),
        (a_revocation("sub", "one"), False),
        (a_revocation("sub", "viewer-7", NOW - 1), False),
        (a_revocation("sub", "viewer-7", NOW + 1), True),
        (a_revocation("sub", "viewer-7", issuer="https://news.example"), False),
        (a_revocation("jti", "one", issuer="https://news.example"), False),
        (a_revocation("video", "x8abcd"), True),
        (a_revocation("video", "x8abc"), False),
        (a_revocation("video", "x8abcd", NOW - 1), False),
    ],
)
def test_what_is_named_and_was_issued_in_time_is_refused(told, is_refused):
    taken_back = RevocationList()
    taken_back.check(*PLAY)
    taken_back.add(told)
    if not is_refused:
        taken_back.check(*PLAY)
        return
    with pytest.raises(Refusal, match=f"token-revoked: by {told.kind}"):
        taken_back.check(*PLAY)


def test_a_token_without_names_is_reached_through_its_video_alone():
    taken_back = RevocationList()
    taken_back.add(a_revocation("sub", "None"))
    nameless = "x8abcd", replace(TOKEN, jti=None, subject=None)
    taken_back.check(*nameless)
    taken_back.add(a_revocation("video", "x8abcd"))
    with pytest.raises(Refusal, match="by video"):
        taken_back.check(*nameless)


def test_an_issuer_s_names_are_its_own():
    """The `jti` or `sub` of one issuer's token may be that of another's."""
    revoked = RevocationList()
    revoked.add(a_revocation("sub", "viewer-7", issuer="https://news.example"))
    revoked.add(a_revocation("jti", "one", issuer="https://news.example"))
    revoked.check(*PLAY)
    revoked.check("x8abcd", replace(TOKEN, issuer="https://sport.example"))
    with pytest.raises(Refusal, match="by jti"):
        revoked.check("x8abcd", replace(TOKEN, issuer="https://news.example"))
    revoked.add(a_revocation("video", "x8abcd"))  # a video's revocation is for every issuer
    with pytest.raises(Refusal, match="by video"):
        revoked.check("x8abcd", replace(TOKEN, issuer="https://sport.example"))


@pytest.mark.parametrize("kind", REVOCATION_KINDS)
def test_a_revocation_can_be_undone_and_made_again(kind):
    value = {"jti": "one", "sub": "viewer-7", "video": "x8abcd"}[kind]
    made = a_revocation(kind, value, at=NOW)
    undone = a_revocation(kind, value, at=NOW, is_undone=True)
    again = a_revocation(kind, value, at=NOW + 1)
    for news in ([made, undone], [undone, made], [undone, made, undone]):
        revoked = RevocationList()
        for told in news:
            revoked.add(told)
        revoked.check(*PLAY)
        assert list(revoked.list_in_force()) == []
        assert (made in revoked, undone in revoked, again in revoked) == (True, True, False)
        revoked.add(again)
        with pytest.raises(Refusal, match="token-revoked"):
            revoked.check(*PLAY)


@pytest.mark.parametrize(
    ("before", "at", "expected"),
    [
        (NOW, NOW, (NOW, NOW)),
        (NOW + 5, NOW, (NOW + 5, NOW)),
        (NOW + 6, NOW, (NOW + 5, NOW)),
        (MAX_TIMESTAMP, NOW - 100, (NOW - 95, NOW - 100)),  # the same at every reading
        (NOW, NOW + 6, (NOW, NOW + 6)),
        (MAX_TIMESTAMP, NOW + 7, (NOW + 5, NOW)),
        (MAX_TIMESTAMP, MAX_TIMESTAMP, (NOW + 5, NOW)),
    ],
)
def test_impossible_dates_are_clipped(before, at, expected):
    clipped = a_revocation(before=before, at=at).clip_times(NOW, 5)
    assert (clipped.before, clipped.at) == expected
    assert clipped.compute_end(LONGEST) <= NOW + 6 + 5 + 3600 + 1


def test_a_full_list_takes_no_new_name_and_keeps_what_it_has():
    revoked = RevocationList()
    for n in range(MAX_REVOCATIONS):
        assert revoked.add(a_revocation(value=str(n), before=NOW - 1))
    assert not revoked.add(a_revocation(value="new"))
    assert revoked.add(a_revocation(value="0", before=NOW))
    assert len(revoked) == MAX_REVOCATIONS


revocations = st.builds(
    Revocation,
    kind=st.sampled_from(REVOCATION_KINDS),
    value=st.sampled_from(["one", "two"]),
    before=st.integers(0, MAX_TIMESTAMP),
    at=st.integers(0, MAX_TIMESTAMP),
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
        (a_revocation("jti", "one", NOW - 9), 3606),
    ],
)
def test_what_concerns_nothing_any_more_is_forgotten(told, seconds):
    taken_back = RevocationList()
    taken_back.add(told)
    taken_back.drop_expired(NOW + seconds - 1, LONGEST)
    assert told in taken_back
    taken_back.drop_expired(NOW + seconds, LONGEST)
    assert (told in taken_back, len(taken_back)) == (False, 0)


def test_where_tokens_are_good_for_longer_it_is_kept_for_longer():
    """Also what was taken back before that was set."""
    taken_back = RevocationList()
    taken_back.add(a_revocation())
    taken_back.drop_expired(NOW + 5000, ValidityLimit(validity=7200, leeway=5))
    assert len(taken_back) == 1


@given(revocations)
def test_what_is_told_is_understood(revocation):
    assert Revocation.from_json(revocation.to_json()) == revocation


@pytest.mark.parametrize(
    "text",
    ["", "null", "{}", "[]", "[" * 100_000,
     json.dumps(["jti", "x", 1, 2]), json.dumps(["iss", "x", None, 1, 2, False, ""]),
     json.dumps(["jti", 1, None, 1, 2, False, ""]), json.dumps(["jti", "x", None, True, 2, False, ""]),
     json.dumps(["jti", "x", None, 1, 2.5, False, ""]), json.dumps([["jti"], "x", None, 1, 2, False, ""]),
     json.dumps(["jti", "x", 1, 1, 2, False, ""]), json.dumps(["jti", "x", None, 1, 2, 0, ""]),
     json.dumps(["jti", "x" * 257, None, 1, 2, False, ""]), json.dumps(["jti", "", None, 1, 2, False, ""]),
     json.dumps(["sub", "x", "y" * 257, 1, 2, False, ""]), json.dumps(["sub", "x", "a b", 1, 2, False, ""]),
     json.dumps(["sub", "x", None, 1, 2, True, "no"]), json.dumps(["sub", "x", None, 1, 2, True, 0]),
     json.dumps(["sub", "x", None, -1, 2, False, ""]), json.dumps(["sub", "x", None, 2**53 + 1, 2, False, ""])],
)  # fmt: skip
def test_what_is_no_revocation_is_told_from_one(text):
    with pytest.raises(ValueError):  # noqa: PT011  # json's own has many texts
        Revocation.from_json(text)


def test_a_proof_is_for_what_an_instance_made_and_for_nothing_else():
    proofs = RevocationProofs("a secret")
    proven = proofs.prove(a_revocation(before=NOW - 9, at=NOW))
    assert proofs.is_proven(proven)
    assert not proofs.is_proven(replace(proven, at=NOW + 1))
    assert not RevocationProofs("another").is_proven(proven)


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_equal_entries_the_proven_one_is_kept_and_a_mixed_one_has_no_proof(is_first):
    proven = RevocationProofs("a secret").prove(a_revocation(before=NOW - 9, at=NOW))
    for other, kept in (
        (replace(proven, proof=""), proven.proof),
        (a_revocation(before=NOW, at=NOW - 9), ""),
    ):
        known = RevocationList()
        for news in (proven, other) if is_first else (other, proven):
            known.add(news)
        (entry,) = known
        assert (entry.proof, entry.at) == (kept, NOW)
