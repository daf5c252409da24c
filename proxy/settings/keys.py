"""Settings of token keys, seal keys and issuers; keys are inline, in files or published."""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from proxy.domain.access import TokenPolicy
from proxy.domain.tokens.claims import VISIBLE_TEXT
from proxy.domain.tokens.jwks import OwnKey, read_own_set
from proxy.domain.tokens.keyring import (
    MIN_SECRET_BYTES,
    SECRET_TOO_SHORT,
    Algorithm,
    KeyInvalid,
    SigningKey,
    load_key,
)
from proxy.settings import key_file
from proxy.settings.value_checks import ENCODING, OptionalPath, Section, check_pattern, check_url

FILE_SUFFIXES = frozenset({".pem", ".key", ".secret", ".json"})


def check_absolute_path(file: Path) -> Path:
    """Check that a path is absolute: it must not depend on the edge's working directory."""
    if not file.is_absolute():
        raise ValueError("must be an absolute path")
    return file


VideoPattern = Annotated[str, AfterValidator(check_pattern)]  # matches whole IDs; empty for all
KeyPath = Annotated[Path, AfterValidator(check_absolute_path)] | None


def format_file_name(file: Path) -> str:
    """Return a file's path for a message, with a space before it.

    Returns an empty text if the path may be a secret that was put into the wrong setting, because
    messages never repeat secrets.
    """
    is_in_folder = file.is_absolute() and file.parent != Path("/") and file.parent.is_dir()
    return f" {file}" if is_in_folder or file.suffix in FILE_SUFFIXES else ""


def format_file_or_placeholder(file: Path) -> str:
    """Return a file's path for a message; "the file" if the path may be a secret."""
    return format_file_name(file).strip() or "the file"


def read_secret(secret: SecretStr, file: Path | None) -> str:
    """Return the text of a secret that is set inline or in a file.

    Raises:
        ValueError: neither or both are set, or the file cannot be read as text.
    """
    if file is None and not secret.get_secret_value():
        raise ValueError("has no key; set either secret or file")
    if file is not None and secret.get_secret_value():
        raise ValueError("has both secret and file; remove one of the two")
    name = "" if file is None else format_file_name(file)
    try:
        text = (
            key_file.read_regular_file(file, encoding=ENCODING)
            if file is not None
            else secret.get_secret_value()
        )
    except OSError as error:
        raise ValueError(f"its file{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"its file{name} is not text") from None
    except ValueError:  # a NUL in the path
        raise ValueError("its file cannot be read: the path contains a NUL byte") from None
    return text.strip()


def check_own_set(text: str) -> str:
    """Check that the path is of a valid JWK Set, or of a file that does not exist yet."""
    read_own_set_file(text)
    return text


def read_own_set_file(path: str) -> tuple[OwnKey, ...]:
    """Return the keys of the file that `playgate keys` manages; empty if there is no file.

    Raises:
        ValueError: the file cannot be read, or is not a valid JWK Set.
    """
    name = format_file_or_placeholder(Path(path))
    try:
        text = key_file.read(Path(path)) if path else None
        return () if text is None else read_own_set(text)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not text") from None
    except KeyInvalid as unusable:
        raise ValueError(f"{name}: {unusable}") from None


class TokenKeyConfig(Section):
    """A token key: `secret` is the secret, or `file` contains the secret or the PEM key."""

    kid: Annotated[str, Field(min_length=1, max_length=128)]
    alg: Algorithm
    secret: SecretStr = SecretStr("")
    file: KeyPath = None
    issuer: Annotated[str, Field(pattern=rf"^({VISIBLE_TEXT.pattern})?$")] = ""
    videos: VideoPattern = ""

    @cached_property
    def signing_key(self) -> SigningKey:
        """The loaded key; its file is read only once."""
        return load_key(
            kid=self.kid,
            algorithm=self.alg,
            material=read_secret(self.secret, self.file),
            issuer=self.issuer or None,
            videos=re.compile(self.videos) if self.videos else None,
        )

    @model_validator(mode="after")
    def _check_usable(self) -> Self:
        _ = self.signing_key
        return self


class IssuerConfig(Section):
    """An external token issuer, and the URL of its JWK Set."""

    issuer: Annotated[str, Field(pattern=rf"^{VISIBLE_TEXT.pattern}$")]
    jwks_url: Annotated[str, AfterValidator(check_url)]
    videos: VideoPattern = ""


class TokensConfig(Section):
    """Token keys, and the rules that every token must meet."""

    keys: tuple[TokenKeyConfig, ...] = ()
    jwks_file: Annotated[OptionalPath, AfterValidator(check_own_set)] = ""
    issuers: tuple[IssuerConfig, ...] = ()
    max_ttl: Annotated[int, Field(gt=0)] = 3600
    default_ttl: Annotated[int, Field(gt=0)] = 300
    leeway: Annotated[int, Field(ge=0, le=60)] = 5
    audience: str = ""
    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "playgate_token"
    bind_on_first_use: bool = False

    @cached_property
    def own_keys(self) -> tuple[OwnKey, ...]:
        """The keys in `jwks_file`, which is read only once; empty if there is no file."""
        return read_own_set_file(self.jwks_file)

    def list_keys(self, now: float) -> list[SigningKey]:
        """Return this edge's own keys that are in use at `now`; the signing key is first."""
        from_file = [own.key for own in self.own_keys if own.is_in_use(now)]
        return [*from_file, *(entry.signing_key for entry in self.keys)]

    @property
    def policy(self) -> TokenPolicy:
        """The rules that every token must meet."""
        return TokenPolicy(max_ttl=self.max_ttl, leeway=self.leeway, audience=self.audience or None)

    @property
    def issuer_urls(self) -> dict[str, str]:
        """The URL of each issuer's JWK Set, by issuer."""
        return {entry.issuer: entry.jwks_url for entry in self.issuers}

    @property
    def issuer_videos(self) -> dict[str, re.Pattern[str]]:
        """The videos for which an issuer's keys may sign tokens; no entry means all videos."""
        return {entry.issuer: re.compile(entry.videos) for entry in self.issuers if entry.videos}

    @model_validator(mode="after")
    def _check_usable(self) -> Self:
        _ = self.own_keys  # read now, since the file may change later
        external = {entry.issuer for entry in self.issuers}
        if len(external) != len(self.issuers):
            raise ValueError(
                "two entries of tokens.issuers have the same issuer: remove one of them"
            )
        if both := external & {key.issuer for key in self.keys}:
            raise ValueError(
                f"{min(both)} is in tokens.issuers, and is the issuer of a key in tokens.keys: "
                "remove it from one of the two"
            )
        return self


class SealKeyConfig(Section):
    """A seal key: `secret` is the secret, or `file` contains the secret."""

    secret: SecretStr = SecretStr("")
    file: KeyPath = None

    @cached_property
    def material(self) -> bytes:
        """The secret's bytes; its file is read only once."""
        secret = read_secret(self.secret, self.file).encode()
        if secret.startswith(b"-----BEGIN"):
            raise ValueError(
                "its secret is a PEM key; create a random secret instead: openssl rand -hex 32"
            )
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(SECRET_TOO_SHORT)
        return secret

    @model_validator(mode="after")
    def _check_usable(self) -> Self:
        _ = self.material
        return self
