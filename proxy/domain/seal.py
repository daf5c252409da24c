"""Seals: what a relayed URI means, in a text that says nothing and cannot be changed.

A seal is deterministic (AES-SIV, RFC 5297): the same child of the same session has the same URI on
every reload, or players lose their place. It lives as long as the session, not as the token, since
players never fetch a new playlist URL; and a child is sealed with the key that opened its parent,
so that a new key breaks no running session.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from hmac import compare_digest, digest
from ipaddress import ip_address, ip_network
from typing import Any, Literal, get_args

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.domain.caches import cache_short_texts
from proxy.domain.client_ip import Address, Network
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.domain.video import VideoId

SealKind = Literal["playlist", "whole", "sequence", "directory"]
SEAL_KINDS: tuple[SealKind, ...] = get_args(SealKind)  # their order is in every seal

PURPOSE = b"playgate relay 2"
SIV_KEY, MAC_KEY = 64, 32  # bytes
MAC_BYTES = 6  # 48 bits, to be guessed online within one session: hopeless at any rate of asking
CACHED_SEALS = 5000  # that were opened: a playback's segments share one
MAX_CACHED_SEAL = 1500  # characters
MAX_SEAL = 6000  # characters; nginx takes request lines up to 8 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Whose playback a seal belongs to; times in seconds since 1970.

    `jti`, `subject`, `issuer` and `issued_at` are the token's, so that its revocation reaches the
    session.
    """

    video: VideoId
    network: Network
    started_at: int
    jti: str | None
    subject: str | None
    issued_at: int
    issuer: str | None = None
    limits: VariantLimits = NO_LIMITS

    def check(self, viewer: Address, *, now: float, max_duration: float, leeway: float) -> None:
        """Refuse a viewer from another network, and a session that is not current; in seconds.

        The clock of the edge that sealed may be ahead of ours by `leeway`.
        """
        if self.started_at > now + leeway:
            ahead = self.started_at - now
            raise Refusal(Reason.SEAL_INVALID, f"the session starts {ahead:.0f} s in the future")
        if now >= self.started_at + max_duration:
            raise Refusal(Reason.SEAL_EXPIRED, f"started {now - self.started_at:.0f} s ago")
        if viewer not in self.network:
            raise Refusal(Reason.SEAL_NETWORK, "the viewer is outside the session's network")


class SealKey:
    """One key, made of a secret."""

    def __init__(self, secret: bytes) -> None:
        made = HKDF(SHA256(), SIV_KEY + MAC_KEY, salt=None, info=PURPOSE).derive(secret)
        self._aead = AESSIV(made[:SIV_KEY])
        self._mac_key = made[SIV_KEY:]

    def seal(self, kind: SealKind, session: Session, content: Any) -> str:
        """Return the seal of a content, which is made of lists, texts, bytes and numbers."""
        network, limits = session.network, session.limits
        plain = [
            SEAL_KINDS.index(kind),
            session.video,
            network.network_address.packed,
            network.prefixlen,
            session.started_at,
            session.jti,
            session.subject,
            session.issuer,
            session.issued_at,
            [limits.max_height, limits.max_bandwidth] if limits else None,
            content,
        ]
        seal = _b64(self._aead.encrypt(msgpack.packb(plain), [PURPOSE]))
        if len(seal) > MAX_SEAL:
            raise Refusal(Reason.PLAYLIST_INVALID, "a URI is too long to seal")
        return seal

    def open(self, seal: str) -> "OpenedSeal | None":
        """Return what a seal says; None where this key did not make it."""
        try:
            sealed = urlsafe_b64decode(seal + "=" * (-len(seal) % 4))
            if _b64(sealed) != seal:  # another text for the same bytes would be another URI
                return None
            plain = msgpack.unpackb(self._aead.decrypt(sealed, [PURPOSE]))
        except (InvalidTag, ValueError):
            return None
        kind, video, network, bits, started_at, jti, subject, *rest = plain
        issuer, issued_at, limits, content = rest
        height, bandwidth = limits or (None, None)
        session = Session(
            video=VideoId(video),
            network=ip_network((ip_address(network), bits)),
            started_at=started_at,
            jti=jti,
            subject=subject,
            issuer=issuer,
            issued_at=issued_at,
            limits=VariantLimits(max_height=height, max_bandwidth=bandwidth),
        )
        return OpenedSeal(key=self, kind=SEAL_KINDS[kind], session=session, content=content)

    def compute_mac(self, seal: str, name: str) -> str:
        """Return what proves that a playlist named this child of a sealed directory."""
        return _b64(digest(self._mac_key, f"{seal}/{name}".encode(), sha256)[:MAC_BYTES])

    def verify_mac(self, mac: str, seal: str, name: str) -> bool:
        """Say whether a child was named."""
        return compare_digest(mac.encode(), self.compute_mac(seal, name).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSeal:
    """What a seal says, and the key that opened it."""

    key: SealKey
    kind: SealKind
    session: Session
    content: Any


class SealKeys:
    """Every key in use: the first seals new sessions, all of them open."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = tuple(map(SealKey, secrets))
        # Without `self`: a cycle is collected late, and one of the edge's start never (gc.freeze).
        self._remembered = cache_short_texts(
            MAX_CACHED_SEAL, max_entries=CACHED_SEALS, function=partial(_open, keys=self._keys)
        )

    @property
    def newest(self) -> SealKey | None:
        """Return the key for a new session; None where there is no key, and so no relay."""
        return self._keys[0] if self._keys else None

    def open(self, seal: str) -> OpenedSeal:
        """Return what a seal says, or refuse with `seal-invalid`."""
        if seal.isascii() and len(seal) <= MAX_SEAL:
            return self._remembered(seal)
        raise build_seal_refusal("no key in use made this seal")


def _open(seal: str, keys: Sequence[SealKey]) -> OpenedSeal:
    for key in keys:
        if (opened := key.open(seal)) is not None:
            return opened
    raise build_seal_refusal("no key in use made this seal")


def build_seal_refusal(why: str) -> Refusal:
    """Return the refusal of a path that we did not make."""
    return Refusal(Reason.SEAL_INVALID, why)


def _b64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
