"""The sandbox as one application: API, CDN and pages on one port of this machine."""

from aiohttp import web

from proxy.sandbox import api, cdn, edge_pages, oauth, pages, studio, v2
from proxy.sandbox.accounts import KeyKind
from proxy.sandbox.state import STATE, Sandbox

MAX_FORM = 1024 * 1024  # bytes; uploads are read as they come
NAME = "{video:[A-Za-z0-9]+}"
FOLDER = "{folder:[a-z0-9_]+}"
SEC2 = r"sec2({sec:[A-Za-z0-9_=-]+})"

# Paths of the token endpoint and of the calls, by API generation and kind of key.
PLACES: dict[tuple[str, KeyKind], tuple[str, str]] = {
    ("legacy", "private"): ("/oauth/v1/token", "/rest"),
    ("legacy", "public"): ("/oauth/token", ""),
    ("v2", "private"): ("/v2/token", "/v2"),
}


def build_sandbox(sandbox: Sandbox) -> web.Application:
    """Return the application of one sandbox."""
    app = web.Application(client_max_size=MAX_FORM)
    app[STATE] = sandbox
    app.add_routes(
        [
            web.get("/", pages.index),
            web.get(f"/open/{NAME}", pages.open_player),
            web.post("/mint", edge_pages.mint),
            web.post("/explain", edge_pages.explain),
            web.get("/api/{port}", edge_pages.describe),
            web.get("/__calls", pages.calls),
            web.delete("/__calls", pages.reset_calls),
            web.post("/__faults/{kind}", pages.set_fault),
            web.delete("/__faults/{kind}", pages.clear_fault),
            web.post("/__hold/{kind}", pages.hold),
            web.delete("/__hold/{kind}", pages.release),
            web.delete("/__access_tokens", pages.expire_access_tokens),
            # the Legacy API: private keys as at partner.api.dailymotion.com, public ones as at
            # api.dailymotion.com
            web.post("/oauth/v1/token", oauth.private_token),
            web.post("/oauth/token", oauth.public_token),
            web.get("/oauth/authorize", oauth.authorize),
            web.post("/oauth/authorize", oauth.decide),
            *legacy("/rest"),
            *legacy(""),
            web.post("/upload", studio.upload),
            # API v2, as at oauth2.dailymotion.com and api.dailymotion.com/v2
            web.post("/v2/token", oauth.private_token),
            web.post("/v2/videos/{video_id}/streams", v2.streams),
            # the CDN
            web.get(f"/cdn/manifest/video/{NAME}.m3u8", cdn.manifest),
            web.get(f"/cdn/live/video/{NAME}.m3u8", cdn.manifest),
            web.get(f"/cdn/subtitle/{NAME}_en.{{kind:m3u8|vtt}}", cdn.subtitles),
            web.get(f"/cdn/H264-{{width:[0-9]+}}x{{height:[0-9]+}}/video/{NAME}.mp4", cdn.file),
            web.get(f"/thumbnail/{NAME}.svg", cdn.thumbnail),
            web.get(f"/cdn/key/{NAME}.key", cdn.key),
            web.get(f"/{SEC2}/{{area:video|live}}/612/345/{NAME}_{FOLDER}.m3u8", cdn.media),
            web.get(
                f"/{SEC2}/frag({{number:[0-9]+}})/{{area:video|live}}/612/345/"
                f"{NAME}_{FOLDER}.{{kind:ts|m4s}}",
                cdn.segment,
            ),
            web.get(f"/{SEC2}/init/{NAME}_{FOLDER}.{{kind:mp4}}", cdn.segment),
        ]
    )
    return app


def legacy(base: str) -> list[web.RouteDef]:
    """Return the calls of the Legacy API under one base."""
    return [
        web.get(f"{base}/video/{{video_id}}", api.video),
        web.post(f"{base}/video/{{video_id}}", studio.edit),
        web.delete(f"{base}/video/{{video_id}}", studio.delete),
        web.get(f"{base}/echo", api.echo),
        web.get(f"{base}/auth", api.auth),
        web.get(f"{base}/logout", api.logout),
        web.get(f"{base}/file/upload", studio.upload_url),
        web.get(f"{base}/user/{{user_id}}/videos", studio.videos_of),
        web.post(f"{base}/user/{{user_id}}/videos", studio.publish),
    ]
