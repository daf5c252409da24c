"""Every reason for which Playgate refuses a request, with its HTTP status and public message.

This table is a public interface: players, nginx and dashboards read the slugs. A message gives the
cause and the next step, and never contains a token, an address or an ID. Facts for the operator
alone belong in a refusal's `detail`, which appears only in the log.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A reason's slug, with the one HTTP status of its responses and its public message."""

    status: int
    message: str

    def __new__(cls, slug: str, status: int, message: str) -> Self:
        """Create a member whose string value is the slug."""
        reason = str.__new__(cls, slug)
        reason._value_ = slug
        reason.status = status
        reason.message = message
        return reason

    # fmt: off
    # 401: the request has no usable token
    TOKEN_MISSING = ("token-missing", 401,
        "This link carries no token. Add ?token=… or an Authorization: Bearer header.")
    TOKEN_MALFORMED = ("token-malformed", 401,
        "The token in this link is malformed. Copy the complete link.")
    TOKEN_CONFLICT = ("token-conflict", 401,
        "This request carries several different tokens. Send exactly one token.")
    TOKEN_KEY_UNKNOWN = ("token-key-unknown", 401,
        "The token was signed with a key that this service does not know. Request a new link.")
    TOKEN_SIGNATURE = ("token-signature", 401,
        "The token's signature is invalid. Request a new link.")
    TOKEN_EXPIRED = "token-expired", 401, "This link has expired. Request a new link."
    TOKEN_NOT_YET_VALID = ("token-not-yet-valid", 401,
        ("This link is not valid yet. If it should be, the clock of the server that signed the "
        "token is ahead: synchronize that clock."))
    TOKEN_LIFETIME = ("token-lifetime", 401,
        ("The token's lifetime (exp - iat) must be positive and at most tokens.max_ttl. Sign the "
        "token with a lifetime in this range."))
    OPERATOR_KEY = ("operator-key", 401,
        ("The operator key is missing or wrong. Send operator.key as a bearer token; if it is not "
        "set, this endpoint refuses every request."))

    # 403: the token is valid, but this request is not allowed
    TOKEN_AUDIENCE = ("token-audience", 403,
        "The token was issued for another service. Request a link for this service.")
    TOKEN_ISSUER = ("token-issuer", 403,
        ("The token's iss is missing, or is not the issuer of the key that signed the token. "
        "Correct iss or the signing key, and request a new link."))
    TOKEN_VIDEO = ("token-video", 403,
        "The token is not valid for this video. Request a link for this video.")
    TOKEN_FORMAT = ("token-format", 403,
        "The token does not allow this format. Choose another format, or request a new link.")
    TOKEN_NETWORK = ("token-network", 403,
        ("The token is bound to another network. Request a new link from the network that you are "
        "using now."))
    TOKEN_USED_ELSEWHERE = ("token-used-elsewhere", 403,
        "This link is bound to the network that used it first. Request a link of your own.")
    TOKEN_REVOKED = "token-revoked", 403, "This link was revoked. Request a new link."
    VIEWER_PRIVATE = ("viewer-private", 403,
        ("Your public IP address is unknown: this edge sees a private address or no address. If a "
        "proxy is in front of the edge, check viewer.trusted_proxies and "
        "viewer.forwarded_header. To allow private addresses, set viewer.private."))
    PATH_NOT_COVERED = ("path-not-covered", 403,
        ("This path or method is not allowed here, or the proxy sent wrong headers. Use GET, HEAD "
        "or OPTIONS, and a path in auth.protected_paths; the edge's log has the exact cause."))
    PEER_UNTRUSTED = ("peer-untrusted", 403,
        ("Only trusted proxies may use this endpoint. If this client is one of your proxies, add "
        "its address to viewer.trusted_proxies."))
    SEAL_INVALID = ("seal-invalid", 403,
        "This playback URL was changed, or this service did not create it. Restart playback.")
    SEAL_EXPIRED = "seal-expired", 403, "This playback session has expired. Restart playback."
    SEAL_NETWORK = ("seal-network", 403,
        ("This playback session is bound to another network. Restart playback from the network "
        "that you are using now."))
    VIDEO_PRIVATE = ("video-private", 403,
        "This video is private. Contact its owner for access.")
    VIDEO_PASSWORD = ("video-password", 403,
        "This video is protected by a password. Contact its owner for access.")
    VIDEO_GEOBLOCKED = ("video-geoblocked", 403,
        "This video is not available in your country. Choose another video.")

    # 4xx: the request is malformed, or there is nothing to play
    REQUEST_INVALID = ("request-invalid", 400,
        "The request is malformed. Correct the request and send it again.")
    VIDEO_NOT_FOUND = ("video-not-found", 404,
        "This video does not exist. Check the video ID.")
    STREAM_UNAVAILABLE = ("stream-unavailable", 404,
        ("This video has no stream right now. It may still be processing, or belong to another "
        "account. Try again later."))
    LIVE_OFF_AIR = ("live-off-air", 404,
        "This live channel is off air. Try again when it is live.")
    FORMAT_UNAVAILABLE = ("format-unavailable", 404,
        ("This video is not available in this format, or exceeds the limits of the token or the "
        "service. Choose another format."))
    NOT_FOUND = "not-found", 404, "Nothing exists at this URL. Check the URL."
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405,
        "This URL does not support this HTTP method. Use a method listed in the Allow header.")

    # 5xx: Dailymotion failed, or this edge did
    INTERNAL = ("internal", 500,
        "An internal error occurred. Report the request ID to the operator.")
    PLATFORM_CREDENTIALS = ("platform-credentials", 502,
        "The video platform rejected this service's credentials. Contact the operator.")
    PLATFORM_PERMISSION = ("platform-permission", 502,
        ("The video platform does not permit this service to get stream URLs. Contact the "
        "operator."))
    PLATFORM_BAD_RESPONSE = ("platform-bad-response", 502,
        "The video platform returned an unusable response. Try again in a moment.")
    STREAM_HOST_NOT_ALLOWED = ("stream-host-not-allowed", 502,
        ("The video platform returned a stream URL that this service does not allow. Contact the "
        "operator."))
    PLAYLIST_INVALID = ("playlist-invalid", 502,
        ("The playlist of this video is invalid, or exceeds the limits of this service. Contact "
        "the operator."))
    PLAYLIST_TOO_LARGE = ("playlist-too-large", 502,
        "A playlist of this video is larger than this service accepts. Contact the operator.")
    PLATFORM_THROTTLED = ("platform-throttled", 503,
        "The video platform is rate-limiting this service. Try again in a moment.")
    PLATFORM_UNREACHABLE = ("platform-unreachable", 503,
        ("The video platform cannot be reached, or has an internal error. Try again in a "
        "moment."))
    OVERLOADED = ("overloaded", 503,
        "The service is overloaded. Try again in a moment.")
    RATE_LIMITED = ("rate-limited", 503,
        ("Too many requests in a short time. Wait for the number of seconds in the Retry-After "
        "header."))
    STATE_UNAVAILABLE = ("state-unavailable", 503,
        "This link cannot be verified right now. Try again in a moment.")
    ACCOUNT_UNAVAILABLE = ("account-unavailable", 503,
        ("This service cannot use its account at the video platform right now. Contact the "
        "operator."))
    STARTING = ("starting", 503,
        ("This edge is starting: it has no access token yet, or has not read the list of "
        "revocations. Wait until it is ready."))
    DRAINING = "draining", 503, "This edge is shutting down. Use another edge."
    PLATFORM_TIMEOUT = ("platform-timeout", 504,
        "The video platform did not respond in time. Try again in a moment.")
    # fmt: on


OVERLOAD_RETRY_SECONDS = 1  # the Retry-After of an `overloaded` response


class Refusal(Exception):
    """A refused request: raised where the cause is found, turned into a response in one place.

    Attributes:
        reason: why the request is refused.
        detail: the exact cause, for the log only.
        message: the public message; by default the reason's own.
        retry_after: seconds until a retry can succeed; None if unknown.
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
        """Return a copy without the traceback: raising the original again keeps all its frames."""
        return Refusal(self.reason, self.detail, message=self.message, retry_after=self.retry_after)


def build_overload_refusal(detail: str) -> Refusal:
    """Return the refusal of a request that this edge has no capacity for."""
    return Refusal(Reason.OVERLOADED, detail, retry_after=OVERLOAD_RETRY_SECONDS)
