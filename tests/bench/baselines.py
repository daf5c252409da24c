"""The baselines: minimal aiohttp servers without checks, metrics and logs.

`python -m bench.baselines KIND PORT` serves one of them.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

REST_URL = os.environ.get("BENCH_REST_URL", "")
TOKEN_URL = os.environ.get("BENCH_TOKEN_URL", "")
FIELDS = "stream_hls_url,stream_live_hls_url"
STREAM_URL = "https://cdndirector.dailymotion.com/cdn/manifest/video/x8demo1.m3u8?sec=" + "s" * 128

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


async def send_redirect(_request: web.Request) -> web.Response:
    """(a) Respond with 302."""
    return web.Response(status=302, headers={"Location": STREAM_URL})


async def send_no_content(_request: web.Request) -> web.Response:
    """(a) Respond with 204."""
    return web.Response(status=204)


async def resolve_and_redirect(request: web.Request) -> web.Response:
    """(b) Fetch the viewer's stream URL over a persistent connection, and redirect."""
    url = await fetch_stream_url(request, request.app[SESSION], "a-token-from-before")
    return web.Response(status=302, headers={"Location": url})


async def fetch_token_and_redirect(request: web.Request) -> web.Response:
    """(c) Fetch an access token and the viewer's stream URL, each on a new connection."""
    form = {
        "grant_type": "client_credentials",
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "scope": "read_video_streams",
    }
    async with aiohttp.ClientSession() as session, session.post(TOKEN_URL, data=form) as response:
        token = (await response.json())["access_token"]
    async with aiohttp.ClientSession() as session:
        url = await fetch_stream_url(request, session, token)
    return web.Response(status=302, headers={"Location": url})


async def fetch_stream_url(request: web.Request, session: aiohttp.ClientSession, token: str) -> str:
    """Return the stream URL of the requested video for the viewer."""
    video = request.match_info["video"]
    query = {"fields": FIELDS, "client_ip": request.headers["X-Forwarded-For"]}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(f"{REST_URL}/video/{video}", params=query, headers=headers) as response:
        return (await response.json())["stream_hls_url"]


async def pass_playlist(request: web.Request) -> web.Response:
    """Fetch a playlist over a persistent connection and pass it on unchanged."""
    url = URL(request.query["url"], encoded=True)
    async with request.app[SESSION].get(url) as response:
        body = await response.read()
    return web.Response(body=body, content_type="application/vnd.apple.mpegurl")


KINDS = {
    "redirect": send_redirect,
    "no-content": send_no_content,
    "one-call": resolve_and_redirect,
    "guides": fetch_token_and_redirect,
    "playlist": pass_playlist,
}


async def serve(kind: str, port: int) -> None:
    async with AsyncExitStack() as stack:
        app = web.Application()
        connector = aiohttp.TCPConnector(limit=0)
        app[SESSION] = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        app.router.add_get("/play/{video}.m3u8", KINDS[kind])
        app.router.add_get("/{path:.*}", KINDS[kind])
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
