"""Compare settings: a digest for display, and the settings that only a restart can change."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from proxy.settings.schema import Settings

DIGEST_LENGTH = 16  # hexadecimal digits
# Instances of one edge differ in `listen` (deploy/playgate@.service); edges never use [videos].
EXCLUDED_FROM_DIGEST: dict[str, Any] = {"web": {"listen"}, "operator": {"listen"}, "videos": True}


def compute_digest(settings: Settings) -> str:
    """Return the digest of an edge's settings, including the secrets and keys in files.

    The digest is safe to show. To test guesses for one secret against it, an attacker must know all
    other secrets, including platform.api_secret, which Dailymotion generates randomly.
    """
    values = settings.model_dump(exclude=EXCLUDED_FROM_DIGEST)
    tokens = settings.tokens
    keys = [*(own.key for own in tokens.own_keys), *(entry.signing_key for entry in tokens.keys)]
    values["keys"] = [(key.kid, key.jwk.thumbprint()) for key in keys]
    values["relay keys"] = [key.material.hex() for key in settings.relay.keys]
    return sha256(json.dumps(values, sort_keys=True, default=_to_text).encode()).hexdigest()[
        :DIGEST_LENGTH
    ]


def _to_text(value: Any) -> str:
    """Return a value as text, also the value of a secret."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


# Tables and settings that a reload does not change.
RESTART_SETTINGS = (
    "sandbox",
    "web.listen",
    "web.player_page",
    "web.keepalive_timeout",
    "web.drain_timeout",
    "operator.listen",
    "log",
    "state",
    "platform",
    "limits.concurrency",
)


def list_changed_names(old: Settings, new: Settings) -> list[str]:
    """Return the names of the settings that differ, sorted."""
    return sorted(_list_differences(old, new, ""))


def keep_restart_settings(old: Settings, new: Settings) -> Settings:
    """Return the new settings, with the old values of those that need a restart."""
    tables: dict[str, Any] = {}
    for name in RESTART_SETTINGS:
        table, _, field = name.partition(".")
        kept = getattr(old, table)
        if field:
            current = tables.get(table, getattr(new, table))
            kept = current.model_copy(update={field: getattr(kept, field)})
        tables[table] = kept
    return new.model_copy(update=tables)


def _list_differences(old: Any, new: Any, path: str) -> Iterator[str]:
    for name in type(old).model_fields:
        old_value, new_value = getattr(old, name), getattr(new, name)
        if hasattr(type(old_value), "model_fields"):
            yield from _list_differences(old_value, new_value, f"{path}{name}.")
        elif old_value != new_value:
            yield f"{path}{name}"
