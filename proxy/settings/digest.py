"""A digest that tells whether an edge runs the settings that a command has read."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from proxy.settings.schema import Settings

LENGTH = 16  # hexadecimal digits
# Instances of one edge differ in `listen` (deploy/playgate@.service); no edge uses [videos].
LEFT_OUT: dict[str, Any] = {"web": {"listen"}, "operator": {"listen"}, "videos": True}


def digest_of(settings: Settings) -> str:
    """Return the digest of an edge's settings, with the secrets and keys that lie in files.

    It may be shown: whoever would try candidates for one secret against it has to know all others,
    platform.api_secret among them, which Dailymotion makes at random.
    """
    values = settings.model_dump(exclude=LEFT_OUT)
    tokens = settings.tokens
    keys = [*(own.key for own in tokens.own_set), *(entry.key for entry in tokens.keys)]
    values["keys"] = [(key.kid, key.jwk.thumbprint()) for key in keys]
    values["relay keys"] = [key.material.hex() for key in settings.relay.keys]
    return sha256(json.dumps(values, sort_keys=True, default=_text_of).encode()).hexdigest()[
        :LENGTH
    ]


def _text_of(value: Any) -> str:
    """Return a value as a text, a secret's too."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
