"""playgate keys: the file of keys that tokens are signed and verified with (tokens.jwks_file)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Any, cast

import typer
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from rich.console import Console
from rich.table import Table

from proxy.adapters import key_file
from proxy.adapters.clock import Clock
from proxy.cli.options import Config, fail, moment_of, printable, settings_or_exit
from proxy.domain.tokens.jwks import OwnKey, read_own_set, read_set
from proxy.domain.tokens.keyring import Algorithm, Jwk, KeyUnusable
from proxy.settings import Settings

app = typer.Typer(help="Make, change and end the keys of tokens.jwks_file.", no_args_is_help=True)

SECRET_BITS, RSA_BITS = 256, 3072


@app.command()
def generate(
    alg: Annotated[
        Algorithm | None,
        typer.Option(help="For signatures of this kind. [default: the signing key's, or HS256]"),
    ] = None,
    config: Config = None,
) -> None:
    """Add a key. It verifies from now on; `rotate` makes it the one that signs."""
    with open_keys(config) as keys:
        signing = keys.signing()
        algorithm = alg or (signing.key.algorithm if signing is not None else "HS256")
        kid = keys.add(algorithm)
    signs = "it signs" if signing is None else "it waits: playgate keys rotate makes it sign"
    typer.echo(f"{kid} ({algorithm}) is in {keys.path}; {signs}")


@app.command("list")
def list_keys(config: Config = None) -> None:
    """Show every key, the signing one first; never any of its secrets."""
    table = Table("kid", "alg", "made", "does", box=None, header_style="bold")
    with open_keys(config) as keys:
        for own, jwk in zip(keys.own, keys.jwks, strict=True):
            made = day(jwk["iat"]) if type(jwk.get("iat")) is int else ""
            table.add_row(printable(own.key.kid), own.key.algorithm, made, keys.role(own))
    Console(soft_wrap=True, highlight=False).print(table)


@app.command()
def rotate(config: Config = None) -> None:
    """Have the newest key sign. The one before verifies until its last token has lapsed."""
    with open_keys(config) as keys:
        before = keys.signing()
        waiting = keys.waiting()
        if before is None or not waiting:
            fail(
                "no key waits: run playgate keys generate, let every edge have the file, "
                "and then rotate"
            )
        until = keys.promote(waiting[-1], before)
    typer.echo(f"{waiting[-1].key.kid} signs from now on")
    typer.echo(f"{before.key.kid} verifies until {moment_of(until)}, and is then let go")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="The key, as playgate keys list shows it.")],
    config: Config = None,
) -> None:
    """Take a key out at once: its tokens are refused, and the playbacks that it sealed end."""
    with open_keys(config) as keys:
        named = [own for own in keys.own if own.key.kid == kid]
        if not named:
            fail(f"no key {printable(kid)!r} in {keys.path}; see playgate keys list")
        signing = keys.signing()
        if signing is not None and signing.key.kid == kid:
            fail(f"{kid} signs: run playgate keys generate and rotate first, then retire it")
        keys.remove(kid)
    typer.echo(f"{kid} is gone from {keys.path}: edges refuse its tokens as soon as they read that")


class KeyFile:
    """The keys while they are held: as they stand, and as they are read."""

    def __init__(self, path: Path, settings: Settings, jwks: Sequence[dict[str, Any]]) -> None:
        self.path = path
        self.now = int(Clock().now())
        self._settings = settings
        self.jwks = list(jwks)

    @property
    def own(self) -> tuple[OwnKey, ...]:
        """The keys in order."""
        return read_own_set(json.dumps({"keys": self.jwks}))

    def signing(self) -> OwnKey | None:
        """Return the key that signs."""
        return next(iter(self._signers()), None)

    def waiting(self) -> list[OwnKey]:
        """Return the keys that could sign and do not yet, the newest last."""
        return self._signers()[1:]

    def role(self, own: OwnKey) -> str:
        """Return what a key does."""
        if own.expires_at is not None:
            does = "verifies until" if own.is_in_use(self.now) else "lapsed"
            return f"{does} {moment_of(own.expires_at)}"
        if not own.key.can_sign:
            return "verifies"
        return "signs" if own == self.signing() else "verifies, waits to sign"

    def add(self, algorithm: Algorithm) -> str:
        """Add a new key at the end."""
        kid = f"{day(self.now)}-{token_hex(3)}"
        made = cast("dict[str, Any]", make(algorithm).as_dict(private=True))
        self.jwks.append({**made, "kid": kid, "alg": algorithm, "use": "sig", "iat": self.now})
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

    def tidied(self) -> str:
        """Return the file's new text, without keys that no session needs any more."""
        longest = self._settings.relay.session_max
        needed = [
            jwk
            for own, jwk in zip(self.own, self.jwks, strict=True)
            if own.is_in_use(self.now - longest)
        ]
        return json.dumps({"keys": needed}, indent=2) + "\n"

    def _signers(self) -> list[OwnKey]:
        return [own for own in self.own if own.key.can_sign and own.expires_at is None]


@contextmanager
def open_keys(config: Path | None) -> Iterator[KeyFile]:
    """Hold the file, and write what was changed; whatever fails says so and changes nothing."""
    settings = settings_or_exit(config, for_edge=False)
    if not settings.tokens.jwks_file:
        fail(
            'tokens.jwks_file is not set: name a file there, such as "/var/lib/playgate/keys.json"'
        )
    path = Path(settings.tokens.jwks_file).resolve()
    try:
        with key_file.held(path):
            text = key_file.read(path)
            jwks = [] if text is None else read_set(text)
            keys = KeyFile(path, settings, jwks)
            yield keys
            if keys.jwks != list(jwks):
                key_file.replace(path, keys.tidied())
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except KeyUnusable as unusable:
        fail(f"{path}: {unusable}")


def make(algorithm: Algorithm) -> Jwk:
    """Return a new key."""
    match algorithm:
        case "HS256":
            return OctKey.generate_key(SECRET_BITS)
        case "ES256":
            return ECKey.generate_key("P-256")
        case "RS256":
            return RSAKey.generate_key(RSA_BITS)
        case "Ed25519":
            return OKPKey.generate_key("Ed25519")


def day(seconds: int) -> str:
    """Return the day of a moment."""
    return moment_of(seconds)[:10]
