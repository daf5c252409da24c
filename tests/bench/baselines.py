"""The baselines: as little aiohttp as answers at all, with neither checks nor metrics nor logs.

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

REST = os.environ.get("BENCH_REST_URL", "")
TOKEN = os.environ.get("BENCH_TOKEN_URL", "")
FIELDS = "stream_hls_url,stream_live_hls_url"
WHERE = "https://cdndirector.dailymotion.com/cdn/manifest/video/x8demo1.m3u8?sec=" + "s" * 128

SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)


async def redirect(_request: web.Request) -> web.Response:
    """(a) Answer 302."""
    return web.Response(status=302, headers={"Location": WHERE})


async def no_content(_request: web.Request) -> web.Response:
    """(a) Answer 204."""
    return web.Response(status=204)


async def one_call(request: web.Request) -> web.Response:
    """(b) Ask for the viewer's URL over a kept connection, and redirect."""
    url = await stream_url(request, request.app[SESSION], "a-token-from-before")
    return web.Response(status=302, headers={"Location": url})


async def as_in_the_guides(request: web.Request) -> web.Response:
    """(c) Ask for an access token, then for the viewer's URL, each on a new connection."""
    form = {
        "grant_type": "client_credentials",
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "scope": "read_video_streams",
    }
    async with aiohttp.ClientSession() as session, session.post(TOKEN, data=form) as answer:
        token = (await answer.json())["access_token"]
    async with aiohttp.ClientSession() as session:
        url = await stream_url(request, session, token)
    return web.Response(status=302, headers={"Location": url})


async def stream_url(request: web.Request, session: aiohttp.ClientSession, token: str) -> str:
    video = request.match_info["video"]
    asked = {"fields": FIELDS, "client_ip": request.headers["X-Forwarded-For"]}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(f"{REST}/video/{video}", params=asked, headers=headers) as answer:
        return (await answer.json())["stream_hls_url"]


async def pass_playlist(request: web.Request) -> web.Response:
    """Fetch a playlist over a kept connection and hand it on as it is."""
    url = URL(request.query["url"], encoded=True)
    async with request.app[SESSION].get(url) as answer:
        body = await answer.read()
    return web.Response(body=body, content_type="application/vnd.apple.mpegurl")


KINDS = {
    "redirect": redirect,
    "no-content": no_content,
    "one-call": one_call,
    "guides": as_in_the_guides,
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
