"""`playgate token explain` and the edge report the same results."""

from ipaddress import ip_address

import pytest
from support import NOW, b64, hs256_key, mint

from proxy.domain.access import CHECKS, AccessRequest, TokenPolicy, authorize, explain
from proxy.domain.client_ip import parse_network
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import verify
from proxy.domain.tokens.keyring import Keyring

POLICY = TokenPolicy(max_ttl=3600, leeway=5, audience=None)
KEYRING = Keyring([hs256_key("one"), hs256_key("issued", "i" * 32, issuer="https://a.example")])
PLAY = AccessRequest(now=NOW, video="x8abcd", format="hls", viewer=ip_address("203.0.113.7"))
ALL_CHECKS = ["form", "key", "signature", "claims", "issuer", *CHECKS]


def mint_token(key: object = None, **options: object) -> str:
    return mint(
        key or hs256_key("one"), **({"video": "x8abcd", "issued_at": NOW, "ttl": 60} | options)
    )


CASES = [
    mint_token(),
    mint_token(video="x8other"),
    mint_token(issued_at=NOW - 600),
    mint_token(issued_at=NOW - 600, video="x8other", network=parse_network("10.0.0.0/8")),
    mint_token(ttl=7200),
    mint_token(audience="elsewhere"),
    mint_token(hs256_key("gone")),
    mint_token(hs256_key("one", "w" * 32)),
    mint_token(hs256_key("issued", "i" * 32, issuer="https://b.example")),
    "nonsense",
    f"{b64({'alg': 'HS256', 'kid': 'one'})}.{b64({'video': 'x'})}.AA",
]


def authorize_at_edge(case: str) -> tuple[str, str] | None:
    try:
        authorize(verify(case, KEYRING), PLAY, POLICY)
    except Refusal as refusal:
        return str(refusal.reason), refusal.detail
    return None


@pytest.mark.parametrize("case", CASES)
def test_the_first_failing_check_is_the_edges_refusal(case):
    refusals = [check.refusal for check in explain(case, KEYRING, PLAY, POLICY) if check.refusal]
    first = next(((str(refusal.reason), refusal.detail) for refusal in refusals), None)

    assert first == authorize_at_edge(case)


def test_a_valid_token_passes_every_check():
    assert [check.name for check in explain(CASES[0], KEYRING, PLAY, POLICY)] == ALL_CHECKS


def test_the_explanation_continues_after_the_first_failure():
    """An expired token for another video from another network fails three checks."""
    failed = [check.name for check in explain(CASES[3], KEYRING, PLAY, POLICY) if check.refusal]

    assert failed == ["expiry", "video", "network"]


def test_checks_without_a_value_to_compare_are_reported_as_not_run():
    play = AccessRequest(now=NOW, video=None, format="hls", viewer=None)

    assert [
        check.name for check in explain(CASES[0], KEYRING, play, POLICY) if not check.was_run
    ] == [
        "video",
        "network",
    ]


def test_claims_are_checked_even_if_the_key_is_unknown():
    names = [check.name for check in explain(CASES[6], KEYRING, PLAY, POLICY)]

    assert names == [name for name in ALL_CHECKS if name not in {"signature", "issuer"}]
