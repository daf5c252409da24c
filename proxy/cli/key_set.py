"""Read and change the keys in tokens.jwks_file."""

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
    """The keys of tokens.jwks_file while the file is locked, as JWKs and as parsed keys."""

    def __init__(self, path: Path, settings: Settings, jwks: Sequence[dict[str, Any]]) -> None:
        self.path = path
        self.now = int(Clock().now())
        self.kids_in_settings = [entry.kid for entry in settings.tokens.keys]
        self._settings = settings
        self.jwks = list(jwks)

    @property
    def own_keys(self) -> tuple[OwnKey, ...]:
        """The parsed keys, in the order of the file."""
        return read_own_set(json.dumps({"keys": self.jwks}))

    def find_signing_key(self) -> OwnKey | None:
        """Return the key that signs new tokens; None if there is none."""
        return next(iter(self._list_signing_candidates()), None)

    def list_waiting_keys(self) -> list[OwnKey]:
        """Return the keys that can sign after a rotation, the newest last.

        A key that is older than the signing key is left out: a rotation has skipped it.
        """
        candidates = self._list_signing_candidates()
        return [own for own in candidates[1:] if not self._is_older(own, candidates[0])]

    def describe_role(self, own: OwnKey) -> str:
        """Describe whether a key signs or verifies, and until when."""
        if own.expires_at is not None:
            role = "verifies until" if own.is_in_use(self.now) else "expired"
            return f"{role} {format_time(own.expires_at)}"
        if not own.key.can_sign:
            return "verifies"
        if own == self.find_signing_key():
            return "signs"
        is_next = own in self.list_waiting_keys()
        return "verifies, does not sign yet" if is_next else "verifies, older than the signing key"

    def add(self, algorithm: Algorithm) -> str:
        """Generate a key, add it at the end, and return its ID."""
        kid = f"{format_day(self.now)}-{token_hex(3)}"
        jwk = cast("dict[str, Any]", generate_key(algorithm).as_dict(private=True))
        creation_times = [read_creation_time(existing) or 0 for existing in self.jwks]
        newest = max(creation_times, default=0)
        created_at = max(self.now, newest + 1)  # two keys of the same second stay in order
        self.jwks.append({**jwk, "kid": kid, "alg": algorithm, "use": "sig", "iat": created_at})
        return kid

    def promote(self, own: OwnKey, previous: OwnKey) -> int:
        """Make a key the signing key; return when the previous key expires.

        The result is in seconds since 1970: the previous key verifies its tokens until then.
        """
        until = self.now + self._settings.tokens.max_ttl + self._settings.tokens.leeway
        by_kid = {jwk["kid"]: jwk for jwk in self.jwks}
        by_kid[previous.key.kid]["exp"] = until
        self.jwks.remove(by_kid[own.key.kid])
        self.jwks.insert(0, by_kid[own.key.kid])
        return until

    def remove(self, kid: str) -> None:
        """Remove a key."""
        self.jwks = [jwk for jwk in self.jwks if jwk["kid"] != kid]

    def format_without_expired(self) -> str:
        """Format the new content of the file, without expired keys."""
        kept = [
            jwk
            for own, jwk in zip(self.own_keys, self.jwks, strict=True)
            if own.is_in_use(self.now)
        ]
        return json.dumps({"keys": kept}, indent=2) + "\n"

    def _is_older(self, own: OwnKey, other: OwnKey) -> bool:
        by_kid = {jwk["kid"]: read_creation_time(jwk) for jwk in self.jwks}
        own_time, other_time = by_kid[own.key.kid], by_kid[other.key.kid]
        return own_time is not None and other_time is not None and own_time < other_time

    def _list_signing_candidates(self) -> list[OwnKey]:
        return [own for own in self.own_keys if own.key.can_sign and own.expires_at is None]


@contextmanager
def open_key_set(config: Path | None) -> Iterator[KeySetFile]:
    """Lock the file, and write the changes at the end.

    On failure, prints an error and exits with 1; the file is then unchanged.
    """
    settings = load_settings_or_exit(config, for_edge=False)
    if not settings.tokens.jwks_file:
        fail(
            "tokens.jwks_file is not set: under [tokens], name a file such as "
            '"/var/lib/playgate/keys.json". This command cannot manage the keys in tokens.keys'
        )
    path = Path(settings.tokens.jwks_file).resolve()
    if not path.parent.is_dir():
        fail(
            f"the folder {path.parent} does not exist: as the user that the edge runs as, run "
            f"mkdir -p {path.parent}"
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
        fail(f"{path}: cannot be read or written: {error.strerror}")
    except KeyInvalid as error:
        fail(f"{path}: {error}")


def generate_key(algorithm: Algorithm) -> Jwk:
    """Generate a key for an algorithm."""
    match algorithm:
        case "HS256":
            # Text, as `openssl rand -hex 32` prints it: every JWT library accepts it unchanged.
            return OctKey.import_key(token_hex(SECRET_BYTES))
        case "ES256":
            return ECKey.generate_key("P-256")
        case "RS256":
            return RSAKey.generate_key(RSA_BITS)
        case "Ed25519":
            return OKPKey.generate_key("Ed25519")


def read_creation_time(jwk: dict[str, Any]) -> int | None:
    """Read when a key was created, in seconds since 1970; None if the JWK has no `iat`."""
    value = jwk.get("iat")
    return value if type(value) is int else None


def format_day(seconds: int) -> str:
    """Format the UTC date of a time in seconds since 1970."""
    return format_time(seconds)[:10]
