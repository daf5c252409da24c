"""playgate keys: manage the keys in tokens.jwks_file, which sign and verify tokens."""

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
    help="Manage the token keys in tokens.jwks_file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@add_command(app, "playgate keys generate", "playgate keys generate --alg ES256")
def generate(
    alg: Annotated[
        Algorithm | None,
        typer.Option(help="The algorithm. [default: the signing key's algorithm, or HS256]"),
    ] = None,
    config: Config = None,
) -> None:
    """Generate a key and add it.

    The first key signs at once. Every further key verifies tokens at once, and signs after
    `playgate keys rotate`.
    """
    with open_key_set(config) as keys:
        signing = keys.find_signing_key()
        algorithm = alg or (signing.key.algorithm if signing is not None else "HS256")
        kid = keys.add(algorithm)
    typer.echo(f"Added {kid} ({algorithm}) to {keys.path}.")
    if signing is None:
        typer.echo("This key signs new tokens.")
    else:
        typer.echo(
            "This key verifies tokens. To sign new tokens with it, run playgate keys rotate."
        )


@add_command(app, "playgate keys list", name="list")
def list_keys(config: Config = None) -> None:
    """List the keys, the signing key first, without secrets."""
    table = Table("kid", "alg", "created", "use", box=None, header_style="bold")
    with open_key_set(config) as keys:
        for own, jwk in zip(keys.own_keys, keys.jwks, strict=True):
            created_at = read_creation_time(jwk)
            created = "" if created_at is None else format_day(created_at)
            table.add_row(
                to_printable(own.key.kid), own.key.algorithm, created, keys.describe_role(own)
            )
    if not keys.own_keys:
        fail(f"there is no key in {keys.path}; run playgate keys generate")
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
        typer.Argument(
            metavar="KID", help="The key's ID. [default: export all public keys as a JWK Set]"
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Print the public key, for a program that verifies tokens. This is the default.",
        ),
    ] = False,
    secret: Annotated[
        bool,
        typer.Option(
            "--secret",
            help="Print the secret (HS256) or the private key, for a program that signs tokens.",
        ),
    ] = False,
    as_jwk: Annotated[
        bool, typer.Option("--jwk", help="Print a JSON Web Key instead of text or PEM.")
    ] = False,
    config: Config = None,
) -> None:
    """Print a key in a format that JWT libraries accept.

    An HS256 secret is printed as text: pass the text to the library unchanged, without decoding.
    Other keys are printed as PEM. Without KID, prints a JWK Set (RFC 7517) of all public keys; it
    contains no secret and no private key.
    """
    if public and secret:
        fail("--public and --secret cannot be combined: leave one out")
    if kid is None and (secret or as_jwk):
        fail("--secret and --jwk print one key: give its KID, see playgate keys list")
    with open_key_set(config) as keys:
        text = (
            _format_public_set(keys)
            if kid is None
            else export_or_exit(keys, kid, secret=secret, jwk=as_jwk)
        )
    # No newline after a secret in a pipe or file: a library would take it for part of the secret.
    typer.echo(text, nl=not (secret and not as_jwk) or sys.stdout.isatty())


@add_command(app, "playgate keys rotate")
def rotate(config: Config = None) -> None:
    """Sign new tokens with the newest key.

    The previous key verifies tokens until its last token has expired.
    """
    with open_key_set(config) as keys:
        previous = keys.find_signing_key()
        waiting = keys.list_waiting_keys()
        if previous is None or not waiting:
            fail(
                "there is no key to rotate to: run playgate keys generate, copy the file to every "
                "edge, and then run playgate keys rotate"
            )
        until = keys.promote(waiting[-1], previous)
    typer.echo(f"{waiting[-1].key.kid} signs new tokens from now on")
    typer.echo(
        f"{previous.key.kid} verifies tokens until {format_time(until)}; the next change of the "
        "file removes it"
    )


@add_command(app, "playgate keys retire 2026-11-27-1a2b3c")
def retire(
    kid: Annotated[str, typer.Argument(help="The key's ID, see playgate keys list.")],
    config: Config = None,
) -> None:
    """Remove a key, so that edges refuse its tokens.

    Relayed playbacks that have started go on; to end them, use playgate revoke.
    """
    with open_key_set(config) as keys:
        named = [own for own in keys.own_keys if own.key.kid == kid]
        if not named:
            fail(build_unknown_key_message(keys, kid))
        signing = keys.find_signing_key()
        if signing is not None and signing.key.kid == kid:
            fail(
                f"{kid} is the signing key: first run playgate keys generate and playgate keys "
                "rotate, then retire it"
            )
        keys.remove(kid)
    typer.echo(f"Removed {kid} from {keys.path}.")
    typer.echo(f"Each edge refuses the tokens of {kid} once the edge has read the changed file.")


def export_or_exit(keys: KeySetFile, kid: str, *, secret: bool, jwk: bool) -> str:
    """Format one key as text, PEM or JWK, or print an error and exit with 1."""
    own = next((own for own in keys.own_keys if own.key.kid == kid), None)
    if own is None:
        fail(build_unknown_key_message(keys, kid))
    key = own.key
    if isinstance(key.jwk, OctKey) and not secret:
        fail(f"{kid} is an HS256 secret and has no public key; to print the secret, add --secret")
    if secret and not key.can_sign:
        fail(f"{keys.path} has only the public key of {kid}; leave out --secret to print it")
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
            f"the secret of {kid} is not text: add --jwk, decode the member `k` from base64url, "
            "and pass the bytes to the library"
        )
    return text


def _format_public_set(keys: KeySetFile) -> str:
    public_keys = [
        format_jwk(own.key, private=False)
        for own in keys.own_keys
        if own.is_in_use(keys.now) and not isinstance(own.key.jwk, OctKey)
    ]
    if not public_keys:
        fail(
            f"no key in {keys.path} has a public key: HS256 keys are shared secrets. For a key "
            "pair, run playgate keys generate --alg ES256"
        )
    return json.dumps({"keys": public_keys}, indent=2)


def format_jwk(key: SigningKey, *, private: bool) -> dict[str, Any]:
    """Format a key as a JWK.

    An Ed25519 key gets no `alg`: libraries expect `Ed25519` (RFC 9864) or `EdDSA` (RFC 8037), and
    ignore a key with the other name.
    """
    members = cast("dict[str, Any]", key.jwk.as_dict(private=private))
    alg = {} if key.algorithm == "Ed25519" else {"alg": key.algorithm}
    return {**members, "kid": key.kid, **alg, "use": "sig"}


def build_unknown_key_message(keys: KeySetFile, kid: str) -> str:
    """Build the error message for a key that is not in the file."""
    if kid in keys.kids_in_settings:
        return (
            f"{to_printable(kid)} is set in tokens.keys, so change it in the settings. "
            "playgate keys manages only the keys in tokens.jwks_file"
        )
    return f"no key {to_printable(kid)!r} in {keys.path}; see playgate keys list"
