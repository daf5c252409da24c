"""A digest that tells whether an edge runs the settings that a command has read."""

from __future__ import annotations

import json
from hashlib import sha256

from pydantic import SecretStr

from proxy.settings.schema import Settings

LENGTH = 16  # hexadecimal digits
# Instances of one edge differ in these alone (deploy/playgate@.service).
OF_AN_INSTANCE = {"web": {"listen"}, "operator": {"listen"}}


def digest_of(settings: Settings) -> str:
    """Return the digest of all settings but an instance's own, secrets included.

    It may be shown: whoever would try candidates for one secret against it has to know all others,
    platform.api_secret among them, which Dailymotion makes at random.
    """
    values = settings.model_dump(exclude=OF_AN_INSTANCE)
    return sha256(json.dumps(values, sort_keys=True, default=_plain).encode()).hexdigest()[:LENGTH]


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
