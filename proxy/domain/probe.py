"""Sign and check probes, with which `playgate doctor` queries the edge through its public URL.

The edge responds to a probe with the viewer's address that it sees. A probe is signed with a key
derived from the operator key, which itself is never sent to the player port. A probe expires after
a minute and gives access to nothing else.
"""

import re
from hashlib import sha256
from hmac import compare_digest
from hmac import new as hmac

from proxy.domain.reasons import Reason, Refusal

PROBE_TTL_SECONDS = 60
PURPOSE = b"playgate probe"
PROBE = re.compile(r"(?P<expires_at>[0-9]{1,12})\.(?P<mac>[0-9a-f]{64})", re.ASCII)


def sign_probe(operator_key: str, *, now: float) -> str:
    """Return a probe that is valid for `PROBE_TTL_SECONDS` from `now` (seconds since 1970)."""
    expires_at = str(int(now) + PROBE_TTL_SECONDS)
    return f"{expires_at}.{_compute_mac(operator_key, expires_at)}"


def check_probe(probe: str, operator_key: str, *, now: float) -> None:
    """Refuse an invalid probe; refuse every probe if there is no operator key.

    Raises:
        Refusal: `not-found`, so that the route does not reveal itself.
    """
    match = PROBE.fullmatch(probe)
    if match is None or not operator_key:
        raise Refusal(Reason.NOT_FOUND, "malformed probe, or operator.key is not set")
    if not compare_digest(match["mac"], _compute_mac(operator_key, match["expires_at"])):
        raise Refusal(Reason.NOT_FOUND, "the probe was signed with another operator.key")
    if not 0 < int(match["expires_at"]) - now <= PROBE_TTL_SECONDS + 1:
        raise Refusal(
            Reason.NOT_FOUND, "the probe has expired or is from the future: compare the clocks"
        )


def _compute_mac(operator_key: str, expires_at: str) -> str:
    key = hmac(operator_key.encode(), PURPOSE, sha256).digest()
    return hmac(key, expires_at.encode(), sha256).hexdigest()
