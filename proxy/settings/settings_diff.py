"""Whether two settings differ: a digest to show, and what a running edge cannot change."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from proxy.settings.schema import Settings

DIGEST_LENGTH = 16  # hexadecimal digits
# Instances of one edge differ in `listen` (deploy/playgate@.service); no edge uses [videos].
EXCLUDED_FROM_DIGEST: dict[str, Any] = {"web": {"listen"}, "operator": {"listen"}, "videos": True}


def compute_digest(settings: Settings) -> str:
    """Return the digest of an edge's settings, with the secrets and keys that lie in files.

    It may be shown: whoever would try candidates for one secret against it has to know all others,
    platform.api_secret among them, which Dailymotion makes at random.
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
    """Return a value as a text, a secret's too."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


# Whole tables, and single settings.
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
    """Return which settings differ, by name."""
    return sorted(_list_differences(old, new, ""))


def keep_restart_settings(old: Settings, new: Settings) -> Settings:
    """Return the new settings, but for those that need a restart."""
    tables: dict[str, Any] = {}
    for name in RESTART_SETTINGS:
        table, _, field = name.partition(".")
        before = getattr(old, table)
        if field:
            now = tables.get(table, getattr(new, table))
            before = now.model_copy(update={field: getattr(before, field)})
        tables[table] = before
    return new.model_copy(update=tables)


def _list_differences(old: Any, new: Any, path: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before, now, here = getattr(old, name), getattr(new, name), f"{path}{name}"
        if hasattr(type(before), "model_fields"):
            yield from _list_differences(before, now, f"{here}.")
        elif before != now:
            yield here
