"""Keys in the settings: in place, in files, or published by others."""

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
    Algorithm,
    KeyInvalid,
    SigningKey,
    load_key,
)
from proxy.settings import key_file
from proxy.settings.value_checks import ENCODING, OptionalPath, Section, check_pattern, check_url

FILE_SUFFIXES = frozenset({".pem", ".key", ".secret", ".json"})


def check_key_file(file: Path) -> Path:
    """Take the absolute path of a file: where the edge is started must not matter."""
    if not file.is_absolute():
        raise ValueError("must be an absolute path")
    return file


VideoPattern = Annotated[str, AfterValidator(check_pattern)]  # of whole IDs; empty for all
KeyPath = Annotated[Path, AfterValidator(check_key_file)] | None


def format_file_name(file: Path) -> str:
    """Return a file's name for a message, with a space before it.

    Empty if it may be a secret in the wrong place, which no message repeats.
    """
    is_in_folder = file.is_absolute() and file.parent != Path("/") and file.parent.is_dir()
    return f" {file}" if is_in_folder or file.suffix in FILE_SUFFIXES else ""


def format_file_subject(file: Path) -> str:
    """Return a file's name as the subject of a message, as far as it may be shown."""
    return format_file_name(file).strip() or "the file"


def read_secret(secret: SecretStr, file: Path | None) -> str:
    """Return the text of a secret that stands either in place or in a file."""
    if file is None and not secret.get_secret_value():
        raise ValueError("needs either secret or file")
    if file is not None and secret.get_secret_value():
        raise ValueError("has both secret and file; leave one out")
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
        raise ValueError("its file cannot be read: no file has such a name") from None
    return text.strip()


def check_own_set(text: str) -> str:
    """Take the path of a JWK Set that is good, or of none yet."""
    read_own_set_file(text)
    return text


def read_own_set_file(path: str) -> tuple[OwnKey, ...]:
    """Return the keys of a file that `playgate keys` looks after; none if there is no file."""
    name = format_file_subject(Path(path))
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
    """One key: `secret` in place, or `file` that holds the secret or the PEM."""

    kid: Annotated[str, Field(min_length=1, max_length=128)]
    alg: Algorithm
    secret: SecretStr = SecretStr("")
    file: KeyPath = None
    issuer: Annotated[str, Field(pattern=rf"^({VISIBLE_TEXT.pattern})?$")] = ""
    videos: VideoPattern = ""

    @cached_property
    def signing_key(self) -> SigningKey:
        """The key itself, read once."""
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
    """Another issuer of tokens, and where it publishes its keys."""

    issuer: Annotated[str, Field(pattern=rf"^{VISIBLE_TEXT.pattern}$")]
    jwks_url: Annotated[str, AfterValidator(check_url)]
    videos: VideoPattern = ""


class TokensConfig(Section):
    """Which tokens are good."""

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
        """The keys of the file, read once; none where there is no file."""
        return read_own_set_file(self.jwks_file)

    def list_keys(self, now: float) -> list[SigningKey]:
        """Return the keys of our own that are in use now, the signing one first."""
        ours = [own.key for own in self.own_keys if own.is_in_use(now)]
        return [*ours, *(entry.signing_key for entry in self.keys)]

    @property
    def policy(self) -> TokenPolicy:
        """What is asked of every token."""
        return TokenPolicy(max_ttl=self.max_ttl, leeway=self.leeway, audience=self.audience or None)

    @property
    def issuer_urls(self) -> dict[str, str]:
        """Where each issuer publishes its keys."""
        return {entry.issuer: entry.jwks_url for entry in self.issuers}

    @property
    def issuer_videos(self) -> dict[str, re.Pattern[str]]:
        """What the published keys of an issuer may sign tokens for; all videos if not in it."""
        return {entry.issuer: re.compile(entry.videos) for entry in self.issuers if entry.videos}

    @model_validator(mode="after")
    def _check_usable(self) -> Self:
        _ = self.own_keys  # read now: the file may be another one later
        if len({entry.issuer for entry in self.issuers}) != len(self.issuers):
            raise ValueError("two of issuers have the same issuer")
        if both := {entry.issuer for entry in self.issuers} & {it.issuer for it in self.keys}:
            raise ValueError(f"{min(both)} has its own keys (issuers) and one of ours (keys)")
        return self


class SealKeyConfig(Section):
    """One secret that seals are made with: `secret` in place, or `file` that holds it."""

    secret: SecretStr = SecretStr("")
    file: KeyPath = None

    @cached_property
    def material(self) -> bytes:
        """The secret itself, read once."""
        read = read_secret(self.secret, self.file).encode()
        if read.startswith(b"-----BEGIN"):
            raise ValueError("its secret is a PEM key, and seals take random bytes")
        if len(read) < MIN_SECRET_BYTES:
            raise ValueError(f"its secret is shorter than {MIN_SECRET_BYTES} bytes")
        return read

    @model_validator(mode="after")
    def _check_usable(self) -> Self:
        _ = self.material
        return self
