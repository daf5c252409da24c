"""The sandbox application: Dailymotion's API, its CDN and the sandbox's pages on one port."""

from aiohttp import web

from proxy.sandbox import api, cdn, edge_pages, oauth, pages, v2, video_management
from proxy.sandbox.accounts import KeyKind
from proxy.sandbox.state import STATE, Sandbox

# Uploads are not affected: their handler streams the body.
MAX_FORM_BYTES = 1024 * 1024

# Variable parts of routes.
NAME = "{video:[A-Za-z0-9]+}"
FOLDER = "{folder:[a-z0-9_]+}"
SEC2 = r"sec2({sec:[A-Za-z0-9_=-]+})"

# By API generation and kind of API key: the path of the token endpoint, and the base path of calls.
BASE_PATHS: dict[tuple[str, KeyKind], tuple[str, str]] = {
    ("legacy", "private"): ("/oauth/v1/token", "/rest"),
    ("legacy", "public"): ("/oauth/token", ""),
    ("v2", "private"): ("/v2/token", "/v2"),
}


def build_sandbox(sandbox: Sandbox) -> web.Application:
    """Build the aiohttp application that serves a sandbox."""
    app = web.Application(client_max_size=MAX_FORM_BYTES)
    app[STATE] = sandbox
    app.add_routes(
        [
            web.get("/", pages.show_index),
            web.get(f"/open/{NAME}", pages.open_player),
            web.post("/mint", edge_pages.mint_token),
            web.post("/explain", edge_pages.explain_token),
            web.get("/api/{port}", edge_pages.show_openapi),
            web.get("/__calls", pages.show_calls),
            web.delete("/__calls", pages.reset_calls),
            web.post("/__faults/{kind}", pages.set_fault),
            web.delete("/__faults/{kind}", pages.clear_fault),
            web.post("/__hold/{kind}", pages.hold_calls),
            web.delete("/__hold/{kind}", pages.release_calls),
            web.delete("/__access_tokens", pages.expire_access_tokens),
            # The Legacy API. Private keys use the paths of partner.api.dailymotion.com, public keys
            # those of api.dailymotion.com.
            web.post("/oauth/v1/token", oauth.issue_private_token),
            web.post("/oauth/token", oauth.issue_public_token),
            web.get("/oauth/authorize", oauth.show_authorization_page),
            web.post("/oauth/authorize", oauth.handle_decision),
            *build_legacy_routes("/rest"),
            *build_legacy_routes(""),
            web.post("/upload", video_management.upload),
            # API v2, with the paths of oauth2.dailymotion.com and api.dailymotion.com/v2.
            web.post("/v2/token", oauth.issue_private_token),
            web.post("/v2/videos/{video_id}/streams", v2.get_streams),
            # The CDN.
            web.get(f"/cdn/manifest/video/{NAME}.m3u8", cdn.serve_manifest),
            web.get(f"/cdn/live/video/{NAME}.m3u8", cdn.serve_manifest),
            web.get(f"/cdn/subtitle/{NAME}_en.{{kind:m3u8|vtt}}", cdn.serve_subtitles),
            web.get(
                f"/cdn/H264-{{width:[0-9]+}}x{{height:[0-9]+}}/video/{NAME}.mp4", cdn.serve_file
            ),
            web.get(f"/thumbnail/{NAME}.svg", cdn.serve_thumbnail),
            web.get(f"/cdn/key/{NAME}.key", cdn.serve_key),
            web.get(
                f"/{SEC2}/{{area:video|live}}/612/345/{NAME}_{FOLDER}.m3u8",
                cdn.serve_media_playlist,
            ),
            web.get(
                f"/{SEC2}/frag({{number:[0-9]+}})/{{area:video|live}}/612/345/"
                f"{NAME}_{FOLDER}.{{kind:ts|m4s}}",
                cdn.serve_segment,
            ),
            web.get(f"/{SEC2}/init/{NAME}_{FOLDER}.{{kind:mp4}}", cdn.serve_segment),
        ]
    )
    return app


def build_legacy_routes(base: str) -> list[web.RouteDef]:
    """Build the routes of the Legacy API below a base path."""
    return [
        web.get(f"{base}/video/{{video_id}}", api.get_video),
        web.post(f"{base}/video/{{video_id}}", video_management.edit),
        web.delete(f"{base}/video/{{video_id}}", video_management.delete),
        web.get(f"{base}/echo", api.echo),
        web.get(f"{base}/auth", api.get_identity),
        web.get(f"{base}/logout", api.logout),
        web.get(f"{base}/file/upload", video_management.get_upload_url),
        web.get(f"{base}/user/{{user_id}}/videos", video_management.list_videos),
        web.post(f"{base}/user/{{user_id}}/videos", video_management.publish),
    ]
