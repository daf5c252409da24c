"""Mint tokens for the command line, the operator port and the sandbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_urlsafe

from proxy.adapters.clock import Clock
from proxy.domain.client_ip import Network
from proxy.domain.formats import FORMAT_NAMES
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import ANY_VIDEO, verify
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.domain.video import parse_named_video
from proxy.settings import Settings

JTI_BYTES = 12  # random bytes: no two tokens get the same `jti` (RFC 7519, 4.1.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedToken:
    """A signed token.

    Attributes:
        token: the JWT.
        jti: its ID.
        expires_at: in seconds since 1970.
        url: of the play; None without `web.public_url`, or if the token is for any video.
    """

    token: str
    jti: str
    expires_at: int
    url: str | None


class TokenMinter:
    """Mints tokens with the first key in the settings that can sign."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._keyring = Keyring(settings.tokens.list_keys(clock.now()))
        self._settings = settings
        self._clock = clock

    def mint(
        self,
        *,
        video: str,
        ttl: int | None = None,
        network: Network | None = None,
        subject: str | None = None,
        formats: Sequence[str] = (),
        limits: VariantLimits = NO_LIMITS,
    ) -> MintedToken:
        """Return a new token for `video`; `ttl` in seconds, None for `tokens.default_ttl`.

        Raises:
            Refusal: `request-invalid`; the message says what to change.
        """
        config, key = self._settings.tokens, self._keyring.signing_key()
        if key is None:
            raise _build_invalid_refusal(
                "This edge has no key that can sign. Add a secret or a private key to tokens.keys, "
                "or run playgate keys generate."
            )
        ttl = config.default_ttl if ttl is None else ttl
        if not 0 < ttl <= config.max_ttl:
            raise _build_invalid_refusal(
                f"ttl must be 1 to {config.max_ttl} seconds (tokens.max_ttl)."
            )
        if video != ANY_VIDEO:
            parse_named_video(video, self._settings.platform.video_ids)
        may_sign = key.videos is None or video == ANY_VIDEO or key.videos.fullmatch(video)
        if not may_sign:
            raise _build_invalid_refusal(
                f"The key {key.kid} may not sign for this video. Change `videos` of that key."
            )
        if limits and not self._settings.get_seal_secrets():
            raise _build_invalid_refusal(
                "max_height and max_bandwidth require relaying; set relay.keys."
            )
        allowed = [fmt for fmt in FORMAT_NAMES if fmt in formats]
        if len(allowed) != len(set(formats)):
            raise _build_invalid_refusal(f"fmt may contain only {' and '.join(FORMAT_NAMES)}.")
        issued_at, jti = int(self._clock.now()), token_urlsafe(JTI_BYTES)
        token = key.sign(
            {
                "video": video,
                "iat": issued_at,
                "exp": issued_at + ttl,
                "jti": jti,
                "ip": None if network is None else str(network),
                "sub": subject,
                "aud": config.audience or None,
                "iss": key.issuer,
                "fmt": allowed or None,
                "max_height": limits.max_height,
                "max_bandwidth": limits.max_bandwidth,
            },
        )
        try:
            # `subject` comes from the caller, and may make the token invalid.
            verify(token, self._keyring)
        except Refusal as refusal:
            raise _build_invalid_refusal(
                f"The token would not be accepted: {refusal.detail}."
            ) from None
        base, ending = self._settings.web.public_url, "mp4" if allowed == ["mp4"] else "m3u8"
        is_playable = base and video != ANY_VIDEO
        url = f"{base}/play/{video}.{ending}?token={token}" if is_playable else None
        return MintedToken(token=token, jti=jti, expires_at=issued_at + ttl, url=url)


def _build_invalid_refusal(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
