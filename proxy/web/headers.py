"""Headers of every answer, as data, with the reason for each."""

from collections.abc import Sequence

PLAYER_PORT_HEADERS = {
    # Any page may play, and hls.js must be able to read a refusal; the token is the protection.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Deny-Reason, X-Request-Id, Retry-After",
    # A redirect is for one viewer and one moment, and so is a refusal.
    "Cache-Control": "no-store",
    # Pages under COEP may embed us.
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The URL carries a token; nobody behind the redirect is to see it.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Versions of what runs here are nobody's business.
    "Server": "playgate",
}

OPERATOR_PORT_HEADERS = {"Cache-Control": "no-store", "Server": "playgate"}

PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    # `*` does not cover Authorization (Fetch, CORS-safelisting); players send Range.
    "Access-Control-Allow-Headers": "Authorization, Range",
    "Access-Control-Max-Age": "86400",
}


def build_content_security_policy(hosts: Sequence[str], embed_origins: Sequence[str]) -> str:
    """Return the policy of the player page: its own files, and media from Dailymotion's hosts.

    A host with a port is the sandbox's, on plain http.
    """
    sources = " ".join(
        f"http://{host}" if ":" in host else f"https://{host} https://*.{host}" for host in hosts
    )
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"connect-src 'self' {sources}",
            f"media-src 'self' blob: data: {sources}",  # hls.js: MSE, and empty text tracks
            f"img-src data: {sources}",
            "base-uri 'none'",
            "form-action 'none'",
            " ".join(["frame-ancestors 'self'", *embed_origins]),
        ]
    )
