"""The operator's question through the public URL: whom do you see there?

A probe is signed with a key that follows from the operator key, which itself is never shown to the
player port. It lives for seconds and opens nothing but that answer.
"""

import re
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac

from proxy.domain.reasons import Reason, Refusal

PROBE_TTL_SECONDS = 60  # seconds
PURPOSE = b"playgate probe"
PROBE = re.compile(r"(?P<expires_at>[0-9]{1,12})\.(?P<mac>[0-9a-f]{64})", re.ASCII)


def sign_probe(operator_key: str, *, now: float) -> str:
    """Return a probe that is good for a minute from `now` (seconds since 1970)."""
    expires_at = str(int(now) + PROBE_TTL_SECONDS)
    return f"{expires_at}.{_compute_mac(operator_key, expires_at)}"


def check_probe(probe: str, operator_key: str, *, now: float) -> None:
    """Refuse what is no good probe, as if there was nothing here; without a key, every one."""
    match = PROBE.fullmatch(probe)
    if match is None or not operator_key:
        raise Refusal(Reason.NOT_FOUND, "a probe that is none, or no operator.key here")
    if not compare_digest(match["mac"], _compute_mac(operator_key, match["expires_at"])):
        raise Refusal(Reason.NOT_FOUND, "a probe that another operator.key signed")
    if not 0 < int(match["expires_at"]) - now <= PROBE_TTL_SECONDS + 1:
        raise Refusal(Reason.NOT_FOUND, "a probe of another time: compare the clocks")


def _compute_mac(operator_key: str, expires_at: str) -> str:
    key = hmac(operator_key.encode(), PURPOSE, sha256).digest()
    return hmac(key, expires_at.encode(), sha256).hexdigest()
