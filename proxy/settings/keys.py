"""Secrets in the settings: in place, or in files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from proxy.domain.tokens.keyring import MIN_SECRET_BYTES, Algorithm, Key, load_key


class Section(BaseModel):
    """A table of the settings file: unknown keys are errors, and no error repeats a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def read_secret(secret: SecretStr, file: Path | None) -> str:
    """Return the text of a secret that stands either in place or in a file."""
    if file is None and not secret.get_secret_value():
        raise ValueError("needs either secret or file")
    if file is not None and secret.get_secret_value():
        raise ValueError("has both secret and file; leave one out")
    try:
        text = file.read_text() if file is not None else secret.get_secret_value()
    except OSError as error:
        raise ValueError(f"its file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("its file is not text") from None
    return text.strip()


class TokenKey(Section):
    """One key: `secret` in place, or `file` that holds the secret or the PEM."""

    kid: Annotated[str, Field(min_length=1, max_length=128)]
    alg: Algorithm
    secret: SecretStr = SecretStr("")
    file: Path | None = None
    issuer: Annotated[str, Field(max_length=256)] = ""

    @cached_property
    def key(self) -> Key:
        """The key itself, read once."""
        return load_key(
            kid=self.kid,
            algorithm=self.alg,
            material=read_secret(self.secret, self.file),
            issuer=self.issuer or None,
        )

    @model_validator(mode="after")
    def _is_usable(self) -> TokenKey:
        _ = self.key
        return self


class SealSecret(Section):
    """One secret that seals are made with: `secret` in place, or `file` that holds it."""

    secret: SecretStr = SecretStr("")
    file: Path | None = None

    @cached_property
    def material(self) -> bytes:
        """The secret itself, read once."""
        read = read_secret(self.secret, self.file).encode()
        if len(read) < MIN_SECRET_BYTES:
            raise ValueError(f"its secret is shorter than {MIN_SECRET_BYTES} bytes")
        return read

    @model_validator(mode="after")
    def _is_usable(self) -> SealSecret:
        _ = self.material
        return self
