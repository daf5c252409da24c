"""Tests of revocations: their effect, merging, expiry, JSON and proofs."""

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


def build_revocation(kind="sub", value="viewer-7", before=NOW, at=NOW, **more) -> Revocation:
    return Revocation(kind=kind, value=value, before=before, at=at, **more)


@pytest.mark.parametrize(
    ("revocation", "is_refused"),
    [
        (build_revocation("jti", "one", NOW - 9), True),
        (build_revocation("jti", "two"), False),
        (build_revocation("sub", "viewer-7"), True),
        (build_revocation("sub", "viewer-70"), False),
        (build_revocation("sub", "one"), False),
        (build_revocation("sub", "viewer-7", NOW - 1), False),
        (build_revocation("sub", "viewer-7", NOW + 1), True),
        (build_revocation("sub", "viewer-7", issuer="https://news.example"), False),
        (build_revocation("jti", "one", issuer="https://news.example"), False),
        (build_revocation("video", "x8abcd"), True),
        (build_revocation("video", "x8abc"), False),
        (build_revocation("video", "x8abcd", NOW - 1), False),
    ],
)
def test_a_revocation_applies_to_matching_tokens_issued_up_to_its_time(revocation, is_refused):
    revocation_list = RevocationList()
    revocation_list.check(*PLAY)
    revocation_list.add(revocation)
    if not is_refused:
        revocation_list.check(*PLAY)
        return
    with pytest.raises(Refusal, match=f"token-revoked: a revocation of this {revocation.kind}"):
        revocation_list.check(*PLAY)


def test_a_token_without_jti_and_sub_is_revoked_only_by_video():
    revocation_list = RevocationList()
    revocation_list.add(build_revocation("sub", "None"))
    nameless = "x8abcd", replace(TOKEN, jti=None, subject=None)
    revocation_list.check(*nameless)
    revocation_list.add(build_revocation("video", "x8abcd"))
    with pytest.raises(Refusal, match="a revocation of this video is in force"):
        revocation_list.check(*nameless)


def test_a_revocation_applies_only_to_tokens_of_its_issuer():
    """Two issuers may use the same `jti` or `sub`."""
    revoked = RevocationList()
    revoked.add(build_revocation("sub", "viewer-7", issuer="https://news.example"))
    revoked.add(build_revocation("jti", "one", issuer="https://news.example"))
    revoked.check(*PLAY)
    revoked.check("x8abcd", replace(TOKEN, issuer="https://sport.example"))
    with pytest.raises(Refusal, match="a revocation of this jti"):
        revoked.check("x8abcd", replace(TOKEN, issuer="https://news.example"))
    revoked.add(build_revocation("video", "x8abcd"))  # a video's revocation is for every issuer
    with pytest.raises(Refusal, match="a revocation of this video is in force"):
        revoked.check("x8abcd", replace(TOKEN, issuer="https://sport.example"))


@pytest.mark.parametrize("kind", REVOCATION_KINDS)
def test_a_revocation_can_be_undone_and_made_again(kind):
    value = {"jti": "one", "sub": "viewer-7", "video": "x8abcd"}[kind]
    made = build_revocation(kind, value, at=NOW)
    undone = build_revocation(kind, value, at=NOW, is_undo=True)
    again = build_revocation(kind, value, at=NOW + 1)
    for entries in ([made, undone], [undone, made], [undone, made, undone]):
        revoked = RevocationList()
        for entry in entries:
            revoked.add(entry)
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
        (MAX_TIMESTAMP, NOW - 100, (NOW - 95, NOW - 100)),  # clipping again changes nothing
        (NOW, NOW + 6, (NOW, NOW + 6)),
        (MAX_TIMESTAMP, NOW + 7, (NOW + 5, NOW)),
        (MAX_TIMESTAMP, MAX_TIMESTAMP, (NOW + 5, NOW)),
    ],
)
def test_implausible_times_are_clipped(before, at, expected):
    clipped = build_revocation(before=before, at=at).clip_times(NOW, 5)
    assert (clipped.before, clipped.at) == expected
    assert clipped.compute_end(LONGEST) <= NOW + 6 + 5 + 3600 + 1


def test_a_full_list_refuses_new_names_and_keeps_its_entries():
    revoked = RevocationList()
    for n in range(MAX_REVOCATIONS):
        assert revoked.add(build_revocation(value=str(n), before=NOW - 1))
    assert not revoked.add(build_revocation(value="new"))
    assert revoked.add(build_revocation(value="0", before=NOW))
    assert len(revoked) == MAX_REVOCATIONS


revocations = st.builds(
    Revocation,
    kind=st.sampled_from(REVOCATION_KINDS),
    value=st.sampled_from(["one", "two"]),
    before=st.integers(0, MAX_TIMESTAMP),
    at=st.integers(0, MAX_TIMESTAMP),
)


@given(st.lists(revocations), st.randoms())
def test_merging_does_not_depend_on_order_and_keeps_every_revocation(entries, randomness):
    one, other = RevocationList(), RevocationList()
    for revocation in entries:
        one.add(revocation)
    shuffled = [*entries, *entries]
    randomness.shuffle(shuffled)
    for revocation in shuffled:
        other.add(revocation)
    assert set(one) == set(other)
    assert all(revocation in one for revocation in entries)


@pytest.mark.parametrize(
    ("revocation", "seconds"),
    [
        (build_revocation(), 3601),
        (build_revocation(before=NOW - 1000), 2601),
        (build_revocation(before=NOW + 5), 3606),
        (build_revocation("jti", "one", NOW - 9), 3606),
    ],
)
def test_an_entry_is_dropped_when_its_last_token_has_expired(revocation, seconds):
    revocation_list = RevocationList()
    revocation_list.add(revocation)
    revocation_list.drop_expired(NOW + seconds - 1, LONGEST)
    assert revocation in revocation_list
    revocation_list.drop_expired(NOW + seconds, LONGEST)
    assert (revocation in revocation_list, len(revocation_list)) == (False, 0)


def test_entries_are_kept_longer_if_tokens_are_valid_longer():
    """This includes entries created before the setting changed."""
    revocation_list = RevocationList()
    revocation_list.add(build_revocation())
    revocation_list.drop_expired(NOW + 5000, ValidityLimit(validity=7200, leeway=5))
    assert len(revocation_list) == 1


@given(revocations)
def test_a_revocation_survives_json(revocation):
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
def test_json_that_is_not_a_revocation_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # json raises various messages
        Revocation.from_json(text)


def test_a_proof_is_valid_only_for_its_entry_and_secret():
    proofs = RevocationProofs("a secret")
    proven = proofs.prove(build_revocation(before=NOW - 9, at=NOW))
    assert proofs.is_proven(proven)
    assert not proofs.is_proven(replace(proven, at=NOW + 1))
    assert not RevocationProofs("another").is_proven(proven)


@pytest.mark.parametrize("is_first", [True, False])
def test_merging_keeps_the_proof_of_an_equal_entry_only(is_first):
    proven = RevocationProofs("a secret").prove(build_revocation(before=NOW - 9, at=NOW))
    for other, kept in (
        (replace(proven, proof=""), proven.proof),
        (build_revocation(before=NOW, at=NOW - 9), ""),
    ):
        known = RevocationList()
        for revocation in (proven, other) if is_first else (other, proven):
            known.add(revocation)
        (entry,) = known
        assert (entry.proof, entry.at) == (kept, NOW)
