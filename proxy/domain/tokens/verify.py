"""From a token's text to claims that may be believed."""

from dataclasses import replace

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, read_claims
from proxy.domain.tokens.compact import Compact, read_compact
from proxy.domain.tokens.keyring import OLDER_NAMES, Key, Keyring


def verify(token: str, keyring: Keyring) -> Claims:
    """Return the claims of a token that one of the keys signed, or refuse with a `token-` reason.

    Times and access are not decided here, so the result may be remembered for as long as the
    keyring lives.
    """
    compact = read_compact(token)
    key = keyring.find(compact.kid, claimed_issuer(compact))
    check_signature(compact, key)
    claims = read_claims(compact.payload)
    check_issuer(claims, key)
    return attributed(claims, key)


def attributed(claims: Claims, key: Key) -> Claims:
    """Return claims with what follows from the key: whose they are, and for which videos."""
    return replace(claims, issuer=key.issuer, signable=key.videos)


def claimed_issuer(compact: Compact) -> str | None:
    """Return whose key to look for; whether it is true is found out with that key."""
    issuer = compact.payload.get("iss")
    return issuer if isinstance(issuer, str) else None


def check_signature(compact: Compact, key: Key) -> None:
    """Refuse a token that this key did not sign with the key's own algorithm."""
    algorithm = OLDER_NAMES.get(compact.algorithm, compact.algorithm)
    if algorithm != key.algorithm:
        raise Refusal(Reason.TOKEN_SIGNATURE, f"alg is not {key.algorithm}, which the key is for")
    if not key.verifies(compact.signing_input, compact.signature):
        raise Refusal(Reason.TOKEN_SIGNATURE, "signed with another key than the one it names")


def check_issuer(claims: Claims, key: Key) -> None:
    """Refuse a token that speaks for another issuer than the owner of its key."""
    if key.issuer is not None and claims.issuer != key.issuer:
        raise Refusal(Reason.TOKEN_ISSUER, "iss is not the issuer of the key that signed it")
