"""Make a token that this project's own verification accepts."""

import json
from collections.abc import Mapping

from joserfc.jws import JWSRegistry, serialize_compact

from proxy.domain.tokens.keyring import Key


def sign(key: Key, claims: Mapping[str, object]) -> str:
    """Return a token with these claims, those that are None left out, signed with a key."""
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
    payload = json.dumps(
        {name: value for name, value in claims.items() if value is not None},
        separators=(",", ":"),
    )
    return serialize_compact(
        header, payload, key.jwk, registry=JWSRegistry(algorithms=[key.algorithm])
    )
