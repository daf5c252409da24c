"""The keys of tokens.jwks_file, while a command reads or changes them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, cast

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from proxy.adapters.clock import Clock
from proxy.cli.options import fail, format_time, load_settings_or_exit
from proxy.domain.tokens.jwks import OwnKey, read_own_set, read_set
from proxy.domain.tokens.keyring import Algorithm, Jwk, KeyInvalid
from proxy.settings import Settings, key_file

SECRET_BYTES, RSA_BITS = 32, 3072


class KeySetFile:
    """The keys while they are held: as they stand, and as they are read."""

    def __init__(self, path: Path, settings: Settings, jwks: Sequence[dict[str, Any]]) -> None:
        self.path = path
        self.now = int(Clock().now())
        self.kids_in_settings = [entry.kid for entry in settings.tokens.keys]
        self._settings = settings
        self.jwks = list(jwks)

    @property
    def list_keys(self) -> tuple[OwnKey, ...]:
        """The keys in order."""
        return read_own_set(json.dumps({"keys": self.jwks}))

    def find_signing_key(self) -> OwnKey | None:
        """Return the key that signs."""
        return next(iter(self._list_signing_keys()), None)

    def list_waiting_keys(self) -> list[OwnKey]:
        """Return the keys that could sign and do not yet, the newest last.

        One that is older than the signing key was passed over, and is none of them.
        """
        signers = self._list_signing_keys()
        return [own for own in signers[1:] if not self._is_older(own, signers[0])]

    def describe_role(self, own: OwnKey) -> str:
        """Return what a key does."""
        if own.expires_at is not None:
            does = "verifies until" if own.is_in_use(self.now) else "expired"
            return f"{does} {format_time(own.expires_at)}"
        if not own.key.can_sign:
            return "verifies"
        if own == self.find_signing_key():
            return "signs"
        is_next = own in self.list_waiting_keys()
        return "verifies, does not sign yet" if is_next else "verifies, older than what signs"

    def add(self, algorithm: Algorithm) -> str:
        """Add a new key at the end."""
        kid = f"{format_day(self.now)}-{token_hex(3)}"
        made = cast("dict[str, Any]", generate_key(algorithm).as_dict(private=True))
        newest = max(
            (at for jwk in self.jwks if (at := read_creation_time(jwk)) is not None), default=0
        )
        made_at = max(self.now, newest + 1)  # in order, also within one second
        self.jwks.append({**made, "kid": kid, "alg": algorithm, "use": "sig", "iat": made_at})
        return kid

    def promote(self, own: OwnKey, before: OwnKey) -> int:
        """Put a key first; return until when the one before verifies."""
        until = self.now + self._settings.tokens.max_ttl + self._settings.tokens.leeway
        by_kid = {jwk["kid"]: jwk for jwk in self.jwks}
        by_kid[before.key.kid]["exp"] = until
        self.jwks.remove(by_kid[own.key.kid])
        self.jwks.insert(0, by_kid[own.key.kid])
        return until

    def remove(self, kid: str) -> None:
        """Take a key out."""
        self.jwks = [jwk for jwk in self.jwks if jwk["kid"] != kid]

    def format_without_expired(self) -> str:
        """Return the file's new text, without expired keys."""
        needed = [
            jwk
            for own, jwk in zip(self.list_keys, self.jwks, strict=True)
            if own.is_in_use(self.now)
        ]
        return json.dumps({"keys": needed}, indent=2) + "\n"

    def _is_older(self, own: OwnKey, other: OwnKey) -> bool:
        by_kid = {jwk["kid"]: read_creation_time(jwk) for jwk in self.jwks}
        mine, its = by_kid[own.key.kid], by_kid[other.key.kid]
        return mine is not None and its is not None and mine < its

    def _list_signing_keys(self) -> list[OwnKey]:
        return [own for own in self.list_keys if own.key.can_sign and own.expires_at is None]


@contextmanager
def open_key_set(config: Path | None) -> Iterator[KeySetFile]:
    """Hold the file, and write what was changed; whatever fails says so and changes nothing."""
    settings = load_settings_or_exit(config, for_edge=False)
    if not settings.tokens.jwks_file:
        fail(
            "tokens.jwks_file is not set: under [tokens], name a file such as "
            '"/var/lib/playgate/keys.json". The keys in tokens.keys stand in the settings alone'
        )
    path = Path(settings.tokens.jwks_file).resolve()
    if not path.parent.is_dir():
        fail(
            f"the folder {path.parent} does not exist: create it for the user that the edge runs "
            f"as, with mkdir -p {path.parent}"
        )
    try:
        with key_file.lock(path):
            text = key_file.read(path)
            jwks = [] if text is None else read_set(text)
            keys = KeySetFile(path, settings, jwks)
            yield keys
            if keys.jwks != list(jwks):
                key_file.replace(path, keys.format_without_expired())
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except KeyInvalid as unusable:
        fail(f"{path}: {unusable}")


def generate_key(algorithm: Algorithm) -> Jwk:
    """Return a new key."""
    match algorithm:
        case "HS256":
            # Text, so that every library takes it as it is; as `openssl rand -hex 32` makes one.
            return OctKey.import_key(token_hex(SECRET_BYTES))
        case "ES256":
            return ECKey.generate_key("P-256")
        case "RS256":
            return RSAKey.generate_key(RSA_BITS)
        case "Ed25519":
            return OKPKey.generate_key("Ed25519")


def read_creation_time(jwk: dict[str, Any]) -> int | None:
    """Return when a key was made, in seconds since 1970; None if it does not say."""
    value = jwk.get("iat")
    return value if type(value) is int else None


def format_day(seconds: int) -> str:
    """Return the day of a moment."""
    return format_time(seconds)[:10]
