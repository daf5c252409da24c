"""The access policy: the checks that decide whether a verified token allows a play.

The edge and `playgate token explain` run the same table of checks, so their results cannot differ.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from proxy.domain.client_ip import Address
from proxy.domain.formats import Format
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import (
    ANY_VIDEO,
    Claims,
    attribute_claims,
    check_issuer,
    check_signature,
    read_claimed_issuer,
    read_claims,
)
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.video import VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """The edge's requirements for every token.

    Attributes:
        max_ttl: the longest allowed lifetime, `exp` minus `iat`, in seconds.
        leeway: how far the signer's clock may be ahead, in seconds.
        audience: the accepted `aud`; None accepts only tokens without `aud`.
    """

    max_ttl: int
    leeway: int
    audience: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """The play that a token must allow; `now` is in seconds since 1970.

    `playgate token explain` sets values that the command line omits to None.
    """

    now: float
    video: VideoId | None
    format: Format | None
    viewer: Address | None


def authorize(claims: Claims, play: AccessRequest, policy: TokenPolicy) -> None:
    """Check whether a verified token allows this play.

    Raises:
        Refusal: with the reason of the first failing check.
    """
    for check in CHECKS.values():
        check(claims, play, policy)


def check_not_before(claims: Claims, play: AccessRequest, policy: TokenPolicy) -> None:
    """Refuse a token whose `iat` or `nbf` is in the future.

    Such a token would still be valid after its revocation was dropped.
    """
    if claims.issued_at > play.now + policy.leeway:
        raise Refusal(Reason.TOKEN_NOT_YET_VALID, "iat is in the future")
    if claims.not_before is not None and claims.not_before > play.now + policy.leeway:
        raise Refusal(Reason.TOKEN_NOT_YET_VALID, "nbf is in the future")


def check_expiry(claims: Claims, play: AccessRequest, _policy: TokenPolicy) -> None:
    """Refuse a token at or after its `exp` (RFC 7519, 4.1.4)."""
    if claims.expires_at <= play.now:
        raise Refusal(Reason.TOKEN_EXPIRED, f"exp was {play.now - claims.expires_at:.0f} s ago")


def check_lifetime(claims: Claims, _play: AccessRequest, policy: TokenPolicy) -> None:
    """Refuse a token whose lifetime exceeds `tokens.max_ttl`."""
    lifetime = claims.expires_at - claims.issued_at
    if not 0 < lifetime <= policy.max_ttl:
        raise Refusal(
            Reason.TOKEN_LIFETIME, f"exp - iat is {lifetime} s, tokens.max_ttl is {policy.max_ttl}"
        )


def check_audience(claims: Claims, _play: AccessRequest, policy: TokenPolicy) -> None:
    """Refuse a token with an `aud` that does not contain `tokens.audience` (RFC 7519, 4.1.3)."""
    if claims.audience and policy.audience not in claims.audience:
        detail = (
            "aud does not contain tokens.audience"
            if policy.audience
            else "the token has aud, but tokens.audience is not set"
        )
        raise Refusal(Reason.TOKEN_AUDIENCE, detail)


def check_video(claims: Claims, play: AccessRequest, _policy: TokenPolicy) -> None:
    """Refuse a token for another video, or signed with a key that may not sign for this video."""
    if play.video is None:
        return
    if claims.video not in (ANY_VIDEO, play.video):
        raise Refusal(Reason.TOKEN_VIDEO, "the token is for another video than the requested one")
    if claims.signable_videos is not None and claims.signable_videos.fullmatch(play.video) is None:
        owner = "issuer" if claims.issuer else "key"
        raise Refusal(
            Reason.TOKEN_VIDEO,
            f"the token's {owner} may not sign for this video: its videos pattern does not match",
        )


def check_format(claims: Claims, play: AccessRequest, _policy: TokenPolicy) -> None:
    """Refuse a format that the token's `fmt` does not list."""
    if play.format is not None and claims.formats and play.format not in claims.formats:
        raise Refusal(Reason.TOKEN_FORMAT, f"the token's fmt does not contain {play.format}")


def check_network(claims: Claims, play: AccessRequest, _policy: TokenPolicy) -> None:
    """Refuse a viewer outside the token's network."""
    if claims.network is None or play.viewer is None or play.viewer in claims.network:
        return
    if play.viewer.version != claims.network.version:
        raise Refusal(
            Reason.TOKEN_NETWORK,
            f"the token is for IPv{claims.network.version}, and the viewer uses "
            f"IPv{play.viewer.version}",
        )
    raise Refusal(Reason.TOKEN_NETWORK, "the viewer's address is not in the token's network (ip)")


# In the order in which the edge runs them. `playgate token explain` prints the names.
CHECKS: dict[str, Callable[[Claims, AccessRequest, TokenPolicy], None]] = {
    "started": check_not_before,
    "expiry": check_expiry,
    "lifetime": check_lifetime,
    "audience": check_audience,
    "video": check_video,
    "format": check_format,
    "network": check_network,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCheck:
    """The result of one check; `refusal` is None if the check passed or was not run."""

    name: str
    refusal: Refusal | None = None
    was_run: bool = True  # False if the request lacks the value to compare with


def explain(
    token: str, keyring: Keyring, play: AccessRequest, policy: TokenPolicy
) -> Iterator[TokenCheck]:
    """Yield the result of every check in the edge's order.

    The edge responds with the first refusal. This function continues after a refusal, as long as
    the later checks can still run.
    """
    try:
        compact = read_compact(token)
    except Refusal as refusal:
        yield TokenCheck(name="form", refusal=refusal)
        return
    yield TokenCheck(name="form")

    key = None
    try:
        key = keyring.find(compact.kid, read_claimed_issuer(compact))
    except Refusal as refusal:
        yield TokenCheck(name="key", refusal=refusal)
    else:
        yield TokenCheck(name="key")
        yield run_check("signature", partial(check_signature, compact, key))

    try:
        claims = read_claims(compact.payload)
    except Refusal as refusal:
        yield TokenCheck(name="claims", refusal=refusal)
        return
    yield TokenCheck(name="claims")
    if key is not None:
        yield run_check("issuer", partial(check_issuer, claims, key))
        claims = attribute_claims(claims, key)
    can_run = {"video": play.video is not None, "network": play.viewer is not None}
    for name, check in CHECKS.items():
        if can_run.get(name, True):
            yield run_check(name, partial(check, claims, play, policy))
        else:
            yield TokenCheck(name=name, was_run=False)


def run_check(name: str, check: Callable[[], object]) -> TokenCheck:
    """Run a check and return its result."""
    try:
        check()
    except Refusal as refusal:
        return TokenCheck(name=name, refusal=refusal)
    return TokenCheck(name=name)
