"""playgate keys: the file of keys that tokens are signed and verified with (tokens.jwks_file)."""

import json
import sys
from typing import Annotated, Any, cast

import typer
from joserfc.jwk import OctKey
from rich.console import Console
from rich.table import Table

from proxy.cli.key_set import KeySetFile, format_day, open_key_set, read_creation_time
from proxy.cli.options import Config, add_command, fail, format_time, to_printable
from proxy.domain.tokens.keyring import Algorithm, SigningKey

app = typer.Typer(
    help="Manage the keys in tokens.jwks_file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@add_command(app, "playgate keys generate", "playgate keys generate --alg ES256")
def generate(
    alg: Annotated[
        Algorithm | None,
        typer.Option(help="The algorithm. [default: the signing key's, or HS256]"),
    ] = None,
    config: Config = None,
) -> None:
    """Add a key.

    The first one signs at once. A further one verifies tokens from now on, and signs after
    `playgate keys rotate`.
    """
    with open_key_set(config) as keys:
        signing = keys.find_signing_key()
        algorithm = alg or (signing.key.algorithm if signing is not None else "HS256")
        kid = keys.add(algorithm)
    signs = "it signs" if signing is None else "it does not sign yet: run playgate keys rotate"
    typer.echo(f"{kid} ({algorithm}) is in {keys.path}; {signs}")


@add_command(app, "playgate keys list", name="list")
def list_keys(config: Config = None) -> None:
    """List the keys, the signing one first. Shows no secret."""
    table = Table("kid", "alg", "made", "does", box=None, header_style="bold")
    with open_key_set(config) as keys:
        for own, jwk in zip(keys.list_keys, keys.jwks, strict=True):
            at = read_creation_time(jwk)
            made = "" if at is None else format_day(at)
            table.add_row(
                to_printable(own.key.kid), own.key.algorithm, made, keys.describe_role(own)
            )
    if not keys.list_keys:
        fail(f"there is no key in {keys.path}; playgate keys generate adds one")
    Console(soft_wrap=True, highlight=False).print(table)


@add_command(
    app,
    "playgate keys export > jwks.json",
    "playgate keys export KID > public.pem",
    "playgate keys export KID --secret",
)
def export(
    kid: Annotated[
        str | None,
        typer.Argument(metavar="KID", help="The key. [default: a JWK Set of all public keys]"),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Print the public key, for a verifier. The default.")
    ] = False,
    secret: Annotated[
        bool,
        typer.Option("--secret", help="The secret (HS256) or the private key, for a signer."),
    ] = False,
    as_jwk: Annotated[
        bool, typer.Option("--jwk", help="As a JSON Web Key, rather than as text or PEM.")
    ] = False,
    config: Config = None,
) -> None:
    """Print a key in the form that JWT libraries take.

    An HS256 secret is printed as the text that signs: pass it to the library as it is, without
    decoding. Other keys are printed as PEM. Without KID, print a JWK Set (RFC 7517) of the public
    keys, for a verifier; it has no secret and no private key.
    """
    if public and secret:
        fail("--public and --secret exclude each other")
    if kid is None and (secret or as_jwk):
        fail("--secret and --jwk print one key: name it, as playgate keys list shows it")
    with open_key_set(config) as keys:
        text = (
            _format_public_set(keys)
            if kid is None
            else export_or_exit(keys, kid, secret=secret, jwk=as_jwk)
        )
    # A signer's library would take the end of the line for a part of the secret.
    typer.echo(text, nl=not (secret and not as_jwk) or sys.stdout.isatty())


@add_command(app, "playgate keys rotate")
def rotate(config: Config = None) -> None:
    """Let the newest key sign. The key before it verifies until its last token has expired."""
    with open_key_set(config) as keys:
        before = keys.find_signing_key()
        waiting = keys.list_waiting_keys()
        if before is None or not waiting:
            fail(
                "there is no newer key: run playgate keys generate, give every edge the file, "
                "and then rotate"
            )
        until = keys.promote(waiting[-1], before)
    typer.echo(f"{waiting[-1].key.kid} signs from now on")
    typer.echo(f"{before.key.kid} verifies until {format_time(until)}, and is then removed")


@add_command(app, "playgate keys retire 2026-11-27-1a2b3c")
def retire(
    kid: Annotated[str, typer.Argument(help="The key, as playgate keys list shows it.")],
    config: Config = None,
) -> None:
    """Remove a key at once: edges refuse its tokens. Relayed playbacks end by a revocation."""
    with open_key_set(config) as keys:
        named = [own for own in keys.list_keys if own.key.kid == kid]
        if not named:
            fail(build_unknown_key_message(keys, kid))
        signing = keys.find_signing_key()
        if signing is not None and signing.key.kid == kid:
            fail(f"{kid} signs: run playgate keys generate and rotate first, then retire it")
        keys.remove(kid)
    typer.echo(f"{kid} is gone from {keys.path}: edges refuse its tokens as soon as they read that")


def export_or_exit(keys: KeySetFile, kid: str, *, secret: bool, jwk: bool) -> str:
    """Return one key as text, or say why there is none and exit with 1."""
    own = next((own for own in keys.list_keys if own.key.kid == kid), None)
    if own is None:
        fail(build_unknown_key_message(keys, kid))
    key = own.key
    if isinstance(key.jwk, OctKey) and not secret:
        fail(f"{kid} is an HS256 secret and has no public part; --secret prints it")
    if secret and not key.can_sign:
        fail(f"{kid} has no private part in {keys.path}")
    if jwk:
        return json.dumps(format_jwk(key, private=secret), indent=2)
    if not isinstance(key.jwk, OctKey):
        return key.jwk.as_pem(private=secret).decode().strip()
    try:
        text = key.jwk.raw_value.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        fail(
            f"the secret of {kid} is not text: use --jwk, and pass its `k` to the library after "
            "base64url decoding"
        )
    return text


def _format_public_set(keys: KeySetFile) -> str:
    found = [
        format_jwk(own.key, private=False)
        for own in keys.list_keys
        if own.is_in_use(keys.now) and not isinstance(own.key.jwk, OctKey)
    ]
    if not found:
        fail(
            f"no key in {keys.path} has a public part: HS256 keys are shared secrets. "
            "playgate keys generate --alg ES256 makes one that has"
        )
    return json.dumps({"keys": found}, indent=2)


def format_jwk(key: SigningKey, *, private: bool) -> dict[str, Any]:
    """Return a key as a JWK.

    An Ed25519 key names no algorithm: libraries know it as `Ed25519` (RFC 9864) or as `EdDSA`
    (RFC 8037), and pass over a key with the other name.
    """
    members = cast("dict[str, Any]", key.jwk.as_dict(private=private))
    alg = {} if key.algorithm == "Ed25519" else {"alg": key.algorithm}
    return {**members, "kid": key.kid, **alg, "use": "sig"}


def build_unknown_key_message(keys: KeySetFile, kid: str) -> str:
    """Return that a key is not in the file."""
    if kid in keys.kids_in_settings:
        return (
            f"{to_printable(kid)} is one of tokens.keys: its secret or file is in the settings. "
            "playgate keys is for the keys in tokens.jwks_file alone"
        )
    return f"no key {to_printable(kid)!r} in {keys.path}; playgate keys list shows them"
