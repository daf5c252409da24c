"""The response headers of both ports, as data, with the reason for each."""

from collections.abc import Sequence

PLAYER_PORT_HEADERS = {
    # Any page may play, and hls.js must be able to read refusals. The token protects the video.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Deny-Reason, X-Request-Id, Retry-After",
    # Redirects and refusals are valid for one viewer and one moment only.
    "Cache-Control": "no-store",
    # Pages under Cross-Origin-Embedder-Policy (COEP) can embed the responses.
    "Cross-Origin-Resource-Policy": "cross-origin",
    # The URL contains a token, which the target of the redirect must not see.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Replaces aiohttp's value, which discloses the versions of Python and aiohttp.
    "Server": "playgate",
}

OPERATOR_PORT_HEADERS = {"Cache-Control": "no-store", "Server": "playgate"}

PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    # `*` does not cover Authorization (Fetch standard), and older browsers do not know `*`. Players
    # send Range, and CMCD in four headers (CTA-5004).
    "Access-Control-Allow-Headers": (
        "Authorization, Range, Content-Type, "
        "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, *"
    ),
    "Access-Control-Max-Age": "86400",
}


def build_content_security_policy(hosts: Sequence[str], embed_origins: Sequence[str]) -> str:
    """Build the policy of the player page: allow its own files, and media from `hosts`.

    A host with a port belongs to the sandbox and is reached over plain http.
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
            f"media-src 'self' blob: data: {sources}",  # hls.js: MSE and empty text tracks
            f"img-src data: {sources}",
            "base-uri 'none'",
            "form-action 'none'",
            " ".join(["frame-ancestors 'self'", *embed_origins]),
        ]
    )
