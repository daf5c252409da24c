"""The sandbox as one application: API, CDN and pages on one port of this machine."""

from __future__ import annotations

from aiohttp import web

from proxy.sandbox import api, cdn, pages
from proxy.sandbox.state import STATE, Sandbox

NAME = "{video:[A-Za-z0-9]+}"
FOLDER = "{folder:[a-z0-9_]+}"
SEC2 = r"sec2({sec:[A-Za-z0-9_=-]+})"


def build_sandbox(sandbox: Sandbox) -> web.Application:
    """Return the application of one sandbox."""
    app = web.Application()
    app[STATE] = sandbox
    app.add_routes(
        [
            web.get("/", pages.index),
            web.get(f"/open/{NAME}", pages.open_player),
            web.get("/__calls", pages.calls),
            web.delete("/__calls", pages.reset_calls),
            web.post("/__faults/{kind}", pages.set_fault),
            web.delete("/__faults/{kind}", pages.clear_fault),
            web.post("/__hold/{kind}", pages.hold),
            web.delete("/__hold/{kind}", pages.release),
            web.delete("/__access_tokens", pages.expire_access_tokens),
            # the Legacy API, as partner.api.dailymotion.com has it
            web.post("/oauth/v1/token", api.token),
            web.get("/rest/video/{video_id}", api.video),
            web.get("/rest/echo", api.echo),
            web.get("/rest/auth", api.auth),
            # the CDN
            web.get(f"/cdn/manifest/video/{NAME}.m3u8", cdn.manifest),
            web.get(f"/cdn/live/video/{NAME}.m3u8", cdn.manifest),
            web.get(f"/cdn/subtitle/{NAME}_en.{{kind:m3u8|vtt}}", cdn.subtitles),
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
