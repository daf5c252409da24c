"""Make a token that this project's own verification accepts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from joserfc.jws import JWSRegistry, serialize_compact

from proxy.domain.client_ip import Network
from proxy.domain.formats import Format
from proxy.domain.playlist.variants import NO_LIMITS, Limits
from proxy.domain.tokens.keyring import Key


def mint(
    key: Key,
    *,
    video: str,
    issued_at: int,
    ttl: int,
    jti: str | None = None,
    network: Network | None = None,
    subject: str | None = None,
    audience: str | None = None,
    formats: Sequence[Format] = (),
    limits: Limits = NO_LIMITS,
) -> str:
    """Return a signed token for `video`, valid for `ttl` seconds from `issued_at`."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
    claims = {
        "video": video,
        "iat": issued_at,
        "exp": issued_at + ttl,
        "jti": jti,
        "ip": None if network is None else str(network),
        "sub": subject,
        "aud": audience,
        "iss": key.issuer,
        "fmt": list(formats) or None,
        "max_height": limits.max_height,
        "max_bandwidth": limits.max_bandwidth,
    }
    payload = json.dumps(
        {name: value for name, value in claims.items() if value is not None},
        separators=(",", ":"),
    )
    return serialize_compact(
        header, payload, key.jwk, registry=JWSRegistry(algorithms=[key.algorithm])
    )
