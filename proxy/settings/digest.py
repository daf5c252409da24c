"""A digest that tells whether an edge runs the settings that a command has read."""

from __future__ import annotations

import json
from hashlib import sha256

from proxy.settings.schema import Settings

LENGTH = 16  # hexadecimal digits
# Instances of one edge differ in these alone (deploy/playgate@.service).
OF_AN_INSTANCE = {"web": {"listen"}, "operator": {"listen"}}


def digest_of(settings: Settings) -> str:
    """Return the digest of all settings but an instance's own; it may be shown.

    Secrets are masked, so that nobody can try candidates against it.
    """
    values = settings.model_dump(mode="json", exclude=OF_AN_INSTANCE)
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:LENGTH]
