"""Tokens of our own making, for the command line, the operator port and the sandbox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_urlsafe

from proxy.adapters.clock import Clock
from proxy.domain.client_ip import Network
from proxy.domain.formats import FORMAT_NAMES
from proxy.domain.playlist.variants import NO_LIMITS, Limits
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import ANY_VIDEO
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.tokens.mint import mint
from proxy.domain.tokens.verify import verify
from proxy.domain.video import named_video

JTI_BYTES = 12  # random: no two tokens share an id (RFC 7519, 4.1.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A token, its id, when it lapses (seconds since 1970), and a URL to play, if there is one."""

    token: str
    jti: str
    expires_at: int
    url: str | None


class Minting:
    """Mints with the first key of the ring that can sign."""

    def __init__(
        self,
        keyring: Keyring,
        clock: Clock,
        *,
        audience: str | None,
        default_ttl: int,
        max_ttl: int,
        public_url: str,
        video_id_pattern: re.Pattern[str],
        can_relay: bool,
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._audience = audience
        self._default_ttl = default_ttl
        self._max_ttl = max_ttl
        self._public_url = public_url
        self._video_id_pattern = video_id_pattern
        self._can_relay = can_relay

    def mint(
        self,
        *,
        video: str,
        ttl: int | None = None,
        network: Network | None = None,
        subject: str | None = None,
        formats: Sequence[str] = (),
        limits: Limits = NO_LIMITS,
    ) -> Minted:
        """Return a token for `video`; `ttl` in seconds, None for `tokens.default_ttl`.

        Raises:
            Refusal: `request-invalid`, with a message that says what to change.
        """
        key = self._keyring.signing_key()
        if key is None:
            raise _invalid("No key of this edge can sign: all of them are public keys.")
        ttl = self._default_ttl if ttl is None else ttl
        if not 0 < ttl <= self._max_ttl:
            raise _invalid(f"ttl must be 1 to {self._max_ttl} seconds (tokens.max_ttl).")
        if video != ANY_VIDEO:
            named_video(video, self._video_id_pattern)
        may_sign = key.videos is None or video == ANY_VIDEO or key.videos.fullmatch(video)
        if not may_sign:
            raise _invalid(f"The key {key.kid} may not sign for this video (its videos setting).")
        if limits and not self._can_relay:
            raise _invalid("max_height and max_bandwidth require relaying; set relay.keys.")
        allowed = [fmt for fmt in FORMAT_NAMES if fmt in formats]
        if len(allowed) != len(set(formats)):
            raise _invalid(f"fmt may name {' and '.join(FORMAT_NAMES)}, and nothing else.")
        issued_at, jti = int(self._clock.now()), token_urlsafe(JTI_BYTES)
        token = mint(
            key,
            video=video,
            issued_at=issued_at,
            ttl=ttl,
            jti=jti,
            network=network,
            subject=subject,
            audience=self._audience,
            formats=allowed,
            limits=limits,
        )
        try:
            verify(token, self._keyring)  # what we mint, we accept; `subject` is the caller's text
        except Refusal as refusal:
            raise _invalid(f"The token would not be accepted: {refusal.detail}.") from None
        plays_somewhere = self._public_url and video != ANY_VIDEO
        ending = "mp4" if allowed == ["mp4"] else "m3u8"
        url = f"{self._public_url}/play/{video}.{ending}?token={token}" if plays_somewhere else None
        return Minted(token=token, jti=jti, expires_at=issued_at + ttl, url=url)


def _invalid(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
