"""Seals: encrypted, authenticated texts that stand for the target of a relayed URI.

A seal is deterministic (AES-SIV, RFC 5297): the same child of the same session keeps its URI across
reloads, because players lose their position if URIs change. A seal is valid as long as the session,
not the token, because players never fetch a new playlist URL. A child is sealed with the key that
opened its parent, so adding a key does not break running sessions.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from hmac import digest
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

SealKind = Literal["playlist", "asset-list", "steering", "file"]
SEAL_KINDS: tuple[SealKind, ...] = get_args(SealKind)  # seals contain the index, so never reorder

PURPOSE = b"playgate relay 3"
SIV_KEY_BYTES, MAC_KEY_BYTES = 64, 32
MAC_BYTES = 5
# Characters in Base64 that are used: 36 bits. A guess needs a request within one session, and gains
# one segment; at 5,000 requests per second, it takes 80 days.
MAC_LENGTH = 6
DIGEST_BYTES = 16
MAX_CACHED_SEALS = 5000  # opened seals; the segments of a playback share a seal
MAX_CACHED_SEAL_LENGTH = 1500  # characters
MAX_SEAL_LENGTH = 6000  # characters; nginx accepts request lines of up to 8 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The playback session that a seal belongs to; times in seconds since 1970.

    `jti`, `subject`, `issuer` and `issued_at` come from the token, so that revoking the token also
    revokes the session.
    """

    video: VideoId
    network: Network
    started_at: int
    jti: str | None
    subject: str | None
    issued_at: int
    issuer: str | None = None
    limits: VariantLimits = NO_LIMITS
    # Identifies the session in a dict; hashing all fields for every request would take longer.
    name: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        token = self.jti, self.subject, self.issuer, self.issued_at, self.limits
        name = repr((self.video, str(self.network), self.started_at, *token))
        object.__setattr__(self, "name", name)

    def check(self, viewer: Address, *, now: float, max_duration: float, leeway: float) -> None:
        """Check that the session is current and that the viewer is in its network.

        Args:
            viewer: the viewer's address.
            now: in seconds since 1970.
            max_duration: the longest duration of a session, in seconds.
            leeway: how far the clock of the sealing edge may be ahead, in seconds.

        Raises:
            Refusal: `seal-invalid`, `seal-expired` or `seal-network`.
        """
        if self.started_at > now + leeway:
            ahead = self.started_at - now
            raise Refusal(Reason.SEAL_INVALID, f"the session starts {ahead:.0f} s in the future")
        if now >= self.started_at + max_duration:
            raise Refusal(
                Reason.SEAL_EXPIRED, f"the session started {now - self.started_at:.0f} s ago"
            )
        if viewer not in self.network:
            raise Refusal(Reason.SEAL_NETWORK, "the viewer is outside the session's network")


class SealKey:
    """An encryption key and a MAC key, derived from one secret."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), SIV_KEY_BYTES + MAC_KEY_BYTES, salt=None, info=PURPOSE).derive(
            secret
        )
        self._aead = AESSIV(derived[:SIV_KEY_BYTES])
        self._mac_key = derived[SIV_KEY_BYTES:]

    def seal(self, kind: SealKind, session: Session, content: Any) -> str:
        """Encrypt a content of lists, texts, bytes and numbers into a seal.

        Raises:
            Refusal: `playlist-invalid` if the seal exceeds `MAX_SEAL_LENGTH`.
        """
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
        if len(seal) > MAX_SEAL_LENGTH:
            raise Refusal(Reason.PLAYLIST_INVALID, "a URI is too long to seal")
        return seal

    def open(self, seal: str) -> "OpenedSeal | None":
        """Decrypt a seal; None if this key did not create it."""
        if (sealed := _decode(seal)) is None:
            return None
        try:
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

    def hide(self, seal: str, content: Any) -> str:
        """Encrypt a content that is valid only in a URL with a seal of this key."""
        return _b64(self._aead.encrypt(msgpack.packb(content), [PURPOSE, seal.encode()]))

    def reveal(self, seal: str, hidden: str) -> Any:
        """Decrypt a hidden content; None if this key did not hide it for this seal."""
        if (sealed := _decode(hidden)) is None:
            return None
        try:
            return msgpack.unpackb(self._aead.decrypt(sealed, [PURPOSE, seal.encode()]))
        except (InvalidTag, ValueError):
            return None

    def compute_macs(self, folder: str, digests: Sequence[bytes]) -> list[str]:
        """Return the MACs of children in a folder of relay URLs.

        Args:
            folder: the path of the playlist's relay URL, up to the MACs.
            digests: of what each MAC is for; see `digest_child`.
        """
        place = f"{folder}\0".encode()
        return [
            _b64(digest(self._mac_key, place + of, sha256)[:MAC_BYTES])[:MAC_LENGTH]
            for of in digests
        ]


def digest_child(text: str) -> bytes:
    """Return the digest of a child's name, its block, or its sequence."""
    return sha256(text.encode()).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSeal:
    """The content of a seal, and the key that opened it."""

    key: SealKey
    kind: SealKind
    session: Session
    content: Any


class SealKeys:
    """All keys in use: the first key seals new sessions, and every key opens seals."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = tuple(map(SealKey, secrets))
        # The cached function must not refer to `self`: the garbage collector frees such a cycle
        # late, and never if it dates from the edge's start (gc.freeze).
        self._open_cached = cache_short_texts(
            MAX_CACHED_SEAL_LENGTH,
            max_entries=MAX_CACHED_SEALS,
            function=partial(_open, keys=self._keys),
        )

    @property
    def newest(self) -> SealKey | None:
        """The key for new sessions; None if no key is set, so that relaying is disabled."""
        return self._keys[0] if self._keys else None

    def open(self, seal: str) -> OpenedSeal:
        """Decrypt a seal with the key that created it.

        Raises:
            Refusal: `seal-invalid`.
        """
        if seal.isascii() and len(seal) <= MAX_SEAL_LENGTH:
            return self._open_cached(seal)
        raise build_seal_refusal("no key in relay.keys created this seal")


def _open(seal: str, keys: Sequence[SealKey]) -> OpenedSeal:
    for key in keys:
        if (opened := key.open(seal)) is not None:
            return opened
    raise build_seal_refusal("no key in relay.keys created this seal")


def build_seal_refusal(cause: str) -> Refusal:
    """Return the refusal of a relay URL that this service did not create."""
    return Refusal(Reason.SEAL_INVALID, cause)


def _decode(text: str) -> bytes | None:
    try:
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return decoded if _b64(decoded) == text else None  # one URL for one seal


def _b64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
