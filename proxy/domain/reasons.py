"""Every reason for which Playgate says no, with its status and the sentence that the public sees.

This table is interface: players, nginx and dashboards read the slugs. A sentence names the cause
and the next step, and never a token, an address or an id; what only the operator may know goes
into a refusal's `detail`, and from there into the log alone.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A slug, the one status it is answered with, and its public sentence."""

    status: int
    message: str

    def __new__(cls, slug: str, status: int, message: str) -> Self:
        """Make the member that is its slug, and knows the rest."""
        reason = str.__new__(cls, slug)
        reason._value_ = slug
        reason.status = status
        reason.message = message
        return reason

    # fmt: off
    # 401: no usable token
    TOKEN_MISSING = ("token-missing", 401,
        "This link carries no token. Add ?token=… or an Authorization: Bearer header.")
    TOKEN_MALFORMED = ("token-malformed", 401,
        "The token in this link is not a well-formed signed token. Copy the link whole.")
    TOKEN_CONFLICT = ("token-conflict", 401,
        "This request carries several different tokens. Send exactly one.")
    TOKEN_KEY_UNKNOWN = ("token-key-unknown", 401,
        "The token was signed with a key that is not in use here. Ask for a new link.")
    TOKEN_SIGNATURE = ("token-signature", 401,
        "The token's signature does not verify. Ask for a new link.")
    TOKEN_EXPIRED = "token-expired", 401, "This link has expired. Ask for a new one."
    TOKEN_NOT_YET_VALID = ("token-not-yet-valid", 401,
        "This link is not valid yet. If it should be, the clock that signed it is ahead.")
    TOKEN_LIFETIME = ("token-lifetime", 401,
        "The token lives longer than is allowed here. Sign it for a shorter time.")
    OPERATOR_KEY = ("operator-key", 401,
        "This needs operator.key of the settings, as Authorization: Bearer; none set refuses all.")

    # 403: a good token that does not cover this
    TOKEN_AUDIENCE = "token-audience", 403, "The token was made for another service."
    TOKEN_ISSUER = "token-issuer", 403, "The token names an issuer whose key did not sign it."
    TOKEN_VIDEO = "token-video", 403, "The token is for another video."
    TOKEN_FORMAT = "token-format", 403, "The token does not allow this format."
    TOKEN_NETWORK = ("token-network", 403,
        "The token is for another network than yours. Ask for a new link from where you are.")
    TOKEN_USED_ELSEWHERE = ("token-used-elsewhere", 403,
        ("This link was first used in another network, and is good there only. Ask for a link of "
        "your own."))
    TOKEN_REVOKED = "token-revoked", 403, "This link was withdrawn. Ask for a new one."
    VIEWER_PRIVATE = ("viewer-private", 403,
        ("Your public address is not known here: you appear with none, or with a private one. If "
        "this edge stands behind a proxy, look at viewer.trusted_proxies and "
        "viewer.forwarded_header; if private viewers are meant, at viewer.private."))
    PATH_NOT_COVERED = ("path-not-covered", 403,
        "No rule allows this path and method, so it is denied.")
    PEER_UNTRUSTED = ("peer-untrusted", 403,
        "This is answered to trusted proxies only. Look at viewer.trusted_proxies.")
    SEAL_INVALID = ("seal-invalid", 403,
        "This address of the relay was not made here. Start the playback again.")
    SEAL_EXPIRED = "seal-expired", 403, "This playback is over. Start it again."
    SEAL_NETWORK = ("seal-network", 403,
        "This playback began in another network than yours. Start it again from where you are.")
    VIDEO_PRIVATE = "video-private", 403, "This video is private."
    VIDEO_PASSWORD = "video-password", 403, "This video is protected by a password."
    VIDEO_GEOBLOCKED = "video-geoblocked", 403, "This video is not available in your country."

    # 4xx: nothing to play
    REQUEST_INVALID = "request-invalid", 400, "The request cannot be read."
    VIDEO_NOT_FOUND = "video-not-found", 404, "There is no such video."
    STREAM_UNAVAILABLE = ("stream-unavailable", 404,
        ("This video has no stream right now. It may still be in preparation, or belong to another "
        "account."))
    LIVE_OFF_AIR = "live-off-air", 404, "This live channel is off air."
    FORMAT_UNAVAILABLE = ("format-unavailable", 404,
        ("This video does not come in this format, or not within the limits of the token or of "
        "this service."))
    NOT_FOUND = "not-found", 404, "There is nothing at this address."
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "This address does not take that method."

    # 5xx: Dailymotion, or us
    INTERNAL = "internal", 500, "Something went wrong here. Quote the request id to the operator."
    PLATFORM_CREDENTIALS = ("platform-credentials", 502,
        "The video platform refuses this service's credentials. The operator has to act.")
    PLATFORM_PERMISSION = ("platform-permission", 502,
        "The video platform does not let this service have stream URLs. The operator has to act.")
    PLATFORM_BAD_RESPONSE = ("platform-bad-response", 502,
        "The video platform gave an answer that cannot be used.")
    STREAM_HOST_NOT_ALLOWED = ("stream-host-not-allowed", 502,
        "The video platform named a stream at an address that is not allowed here.")
    PLAYLIST_INVALID = ("playlist-invalid", 502,
        "The playlist of this video cannot be played by any player.")
    PLATFORM_THROTTLED = ("platform-throttled", 503,
        "The video platform asks us to slow down. Try again in a moment.")
    PLATFORM_UNREACHABLE = ("platform-unreachable", 503,
        "The video platform cannot be reached. Try again in a moment.")
    OVERLOADED = ("overloaded", 503,
        "More is asked of this service than it can do just now. Try again in a moment.")
    RATE_LIMITED = ("rate-limited", 503,
        "Too many plays in a short time. Wait for as long as Retry-After says.")
    STATE_UNAVAILABLE = ("state-unavailable", 503,
        "It cannot be told right now whether this link is good here. Try again in a moment.")
    ACCOUNT_UNAVAILABLE = ("account-unavailable", 503,
        "This service cannot use its account at the video platform now. The operator has to act.")
    STARTING = ("starting", 503,
        "This edge has no access token yet. It asks the platform for one by itself.")
    DRAINING = "draining", 503, "This edge is shutting down. Ask another one."
    PLATFORM_TIMEOUT = ("platform-timeout", 504,
        "The video platform did not answer in time. Try again in a moment.")
    # fmt: on


OVERLOAD_RETRY_SECONDS = 1  # seconds, of who was one too many


class Refusal(Exception):
    """An expected no: raised where it is known, turned into a response in one place.

    `message` is public and defaults to the reason's sentence; `detail` is for the log only;
    `retry_after` is after how many seconds it is worth to ask again, where that is known.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        message: str = "",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.message = message or reason.message
        self.retry_after = retry_after

    def copy(self) -> "Refusal":
        """Return the same refusal without its traceback: raised again, it would keep all frames."""
        return Refusal(self.reason, self.detail, message=self.message, retry_after=self.retry_after)


def build_overload_refusal(detail: str) -> Refusal:
    """Return the refusal of what this edge cannot do now, since it does so much already."""
    return Refusal(Reason.OVERLOADED, detail, retry_after=OVERLOAD_RETRY_SECONDS)
