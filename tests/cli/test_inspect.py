"""playgate inspect: files, URLs and videos; a report for people, JSON for programs."""

import asyncio
import gzip
import json
import os
import subprocess
import sys

import brotli
import pytest
from aiohttp import web
from field_cases import serve_case
from processes import build_edge_environment, playgate
from support import SANDBOX_TOML, serve_app

from proxy.sandbox.controls import Fault

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

M3U8 = "application/vnd.apple.mpegurl"
GOOD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n#EXT-X-ENDLIST\n"
BAD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:9,\n1.ts\n#EXT-X-ENDLIST\n"


@pytest.fixture
def inspect(tmp_path):
    """Return a function that runs the command in a folder with a good and a bad playlist."""
    (tmp_path / "good.m3u8").write_text(GOOD)
    (tmp_path / "bad.m3u8").write_text(BAD)

    async def run(
        *arguments: object, stdin: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run, [*playgate("inspect"), *map(str, arguments)], capture_output=True, text=True,
            cwd=tmp_path, input=stdin, check=False, env={**os.environ, "COLUMNS": "200", **env},
        )  # fmt: skip

    return run


@pytest.fixture
def sandbox_environment(sandbox):
    """Return the environment variables for the sandbox."""
    return {"PLAYGATE_CONFIG": str(SANDBOX_TOML), **build_edge_environment(sandbox)}


def lines(ran: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (["good.m3u8"], 0), (["bad.m3u8"], 1), (["good.m3u8", "bad.m3u8"], 1), (["nowhere.m3u8"], 2),
        (["nowhere.m3u8", "bad.m3u8", "good.m3u8"], 2), (["."], 2), (["ftp://a/b.m3u8"], 2), (["http://127.0.0.1:1/"], 2),
        (["x8abcd"], 2), (["http://[/"], 2), (["a b"], 2),
    ],
)  # fmt: skip
async def test_the_exit_code_is_that_of_the_worst_input(inspect, inputs, code):
    ran = await inspect(*inputs)

    assert ran.returncode == code
    assert "Traceback" not in ran.stderr
    assert bool(ran.stderr) == (code == 2)


async def test_json_output_is_one_object_per_line(inspect):
    ran = await inspect("--json", "good.m3u8", "bad.m3u8", "-", stdin="<html>")

    assert lines(ran) == [
        {"input": "good.m3u8", "kind": "media", "verdict": "ok", "findings": []},
        {
            "input": "bad.m3u8", "kind": "media", "verdict": "invalid",
            "findings": [{
                "rule": "segment-long", "line": 3, "severity": "error",
                "message": "The duration of 9 s exceeds EXT-X-TARGETDURATION, 4.",
            }],
        },
        {
            "input": "-", "kind": None, "verdict": "invalid",
            "findings": [{
                "rule": "extm3u", "line": 1, "severity": "unplayable",
                "message": "This is not a playlist: the first line is not #EXTM3U.",
            }],
        },
    ]  # fmt: skip


async def test_the_report_shows_the_line_and_the_section(inspect):
    ran = await inspect("bad.m3u8")

    assert ran.stdout.splitlines() == [
        "bad.m3u8  media  invalid",
        "    error      The duration of 9 s exceeds EXT-X-TARGETDURATION, 4.  (4.4.3.1)  segment-long",
        "             3 │ #EXTINF:9,",
        "",
    ]


async def test_escapes_and_markup_in_a_playlist_are_not_interpreted(inspect, tmp_path):
    (tmp_path / "odd.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:9,[bold]\x1b[2J\n1.ts\n"
    )
    ran = await inspect("odd.m3u8")

    assert "\x1b[2J" not in ran.stdout and "[bold]" in ran.stdout


async def test_a_url_is_fetched_from_any_host(inspect):
    async def playlist(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/a.m3u8")
        status = 403 if request.path == "/no" else 200
        return web.Response(
            text=GOOD * (1 if request.path != "/long" else 60_000),
            content_type="text/plain",
            status=status,
        )

    app = web.Application()
    app.router.add_get("/{name}", playlist)
    async with serve_app(app) as origin:
        good = await inspect("--json", f"{origin}/moved", f"{origin}/a.m3u8")
        assert [(line["verdict"], [it["rule"] for it in line["findings"]]) for line in lines(good)] == [
            ("ok", ["content-type"]), ("ok", ["content-type"]),
        ]  # fmt: skip
        refused = await inspect(f"{origin}/no")
        assert (refused.returncode, refused.stderr) == (2, f"{origin}/no: HTTP 403\n")
        long = await inspect("--json", f"{origin}/long")
        assert "size" in [it["rule"] for it in lines(long)[0]["findings"]]


async def test_a_video_is_inspected_including_its_segments(inspect, sandbox_environment, sandbox):
    ran = await inspect("--json", "x8demo1", **sandbox_environment)
    (line,) = lines(ran)

    assert (ran.returncode, line["kind"], line["verdict"]) == (0, "multivariant", "ok")
    assert (
        sandbox.controls.calls["playlist"] == 5
    )  # multivariant, two variants, subtitles and their text
    assert sandbox.controls.calls["segment"] == 2
    assert {it["message"].partition(":")[0] for it in line["findings"]} == {
        "variant 1",
        "variant 2",
        "subtitles English",
    }


async def test_a_live_channel_is_reloaded(inspect, sandbox_environment, sandbox):
    ran = await inspect("x8live1", **sandbox_environment)

    assert ran.returncode == 0, ran.stdout
    assert sandbox.controls.calls["playlist"] == 3
    assert "window-stood" not in ran.stdout


async def test_missing_segments_are_reported(inspect, sandbox_environment, sandbox):
    sandbox.controls.set_fault("segment", Fault(status=404))
    ran = await inspect("x8demo1", **sandbox_environment)

    assert ran.returncode == 1
    assert ran.stdout.count("Segment 1 cannot be fetched: CDN: HTTP 404.") == 2
    assert "sec2(" not in ran.stdout


async def test_children_are_checked_against_their_multivariant_playlist(
    inspect, sandbox_environment, sandbox
):
    defines = '#EXT-X-DEFINE:IMPORT="a"\n#EXT-X-DEFINE:IMPORT="b"\n'
    files = {
        "m.m3u8": '#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-DEFINE:NAME="a",VALUE="first"\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=1\nnested.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv.m3u8\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="frames.m3u8"\n'
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=2,URI="whole.m3u8"\n'
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=3,URI="page.m3u8"\n',
        "nested.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n",
        "v.m3u8": GOOD.replace("#EXTINF", f"#EXT-X-VERSION:8\n{defines}#EXTINF", 1).replace(
            "1.ts", "{$a}.ts"
        ),
        "frames.m3u8": GOOD.replace(
            "#EXTINF", "#EXT-X-VERSION:4\n#EXT-X-I-FRAMES-ONLY\n#EXTINF"
        ).replace("\n", "\r\n"),
        "whole.m3u8": GOOD,
        "page.m3u8": "<html>",
    }
    async with serve_case({"files": files, "start": "m.m3u8"}) as cdn:
        sandbox.controls.set_fault("playlist", Fault(status=302, headers=(("Location", cdn.url),)))
        origins = [origin.removeprefix("http://") for origin in (cdn.origin, sandbox.origin)]
        hosts = {"PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps(origins)}
        ran = await inspect("--json", "x8demo1", **sandbox_environment | hosts)

    found = {(it["rule"], it["line"], it["message"]) for it in lines(ran)[0]["findings"]}
    assert {(rule, line, message.partition(":")[0]) for rule, line, message in found} == {
        ("nested", None, "variant 1"),
        ("import-undefined", 5, "variant 2"),
        ("frames-only", None, "I-frames 2"),
        ("extm3u", 1, "I-frames 3"),
    }
    assert "/first.ts" in cdn.paths


@pytest.mark.parametrize(
    ("video", "code", "says"),
    [
        ("x8empty", 1, "variants-none"), ("x8robot", 1, "extm3u"), ("x8null", 2, "stream-unavailable"),
        ("x8geo", 2, "video-geoblocked"), ("X8DEMO", 2, "not a video ID"),
    ],
)  # fmt: skip
async def test_a_video_that_does_not_play_is_explained(
    inspect, sandbox_environment, video, code, says
):
    ran = await inspect(video, **sandbox_environment)

    assert ran.returncode == code
    assert says in ran.stdout + ran.stderr


async def test_a_video_cannot_be_inspected_without_settings(inspect):
    ran = await inspect("x8demo1")

    assert ran.returncode == 2
    assert ran.stderr.startswith(
        "x8demo1: no such file. To inspect a video with this ID, Playgate needs valid settings: give --config"
    )
    assert "platform.api_key: is not set" in ran.stderr


ENCODE = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress, "identity": bytes}


async def inspect_response(inspect, status: int, body: bytes, **headers: str):
    """Inspect a URL that responds like this; return the result of the command."""

    async def serve(_request: web.Request) -> web.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=names)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    async with serve_app(app) as origin:
        return await inspect("--json", f"{origin}/m.m3u8")


@pytest.mark.parametrize("encoding", ENCODE)
async def test_a_compressed_response_is_read(inspect, encoding):
    body = ENCODE[encoding](GOOD.encode())
    ran = await inspect_response(inspect, 200, body, Content_Encoding=encoding, Content_Type=M3U8)

    assert lines(ran)[0]["findings"] == []


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("gzip", b"plain", "is not valid gzip, which its Content-Encoding says"),
        ("zstd", zstd.compress(GOOD.encode())[:-3], "is not valid zstd"),
        ("gzip", gzip.compress(b"a") * 17, "has more than 16 compressed members"),
        ("zstd", zstd.compress(b"a") * 17, "has more than 16 compressed members"),
        ("gzip", gzip.compress(GOOD.encode())[:-3], "is not valid gzip"),
        ("br", brotli.compress(GOOD.encode())[:-3], "is not valid br"),
        ("compress", b"x", "unsupported Content-Encoding: compress"),
        ("zstd", zstd.compress(bytes(3 * 1024 * 1024)), "the decompressed response exceeds 2097152 bytes"),
        ("br", brotli.compress(bytes(3 * 1024 * 1024)), "the decompressed response exceeds 2097152 bytes"),
    ],
    ids=range(9),  # gzip contains the time, so all workers would have other ids
)  # fmt: skip
async def test_a_response_that_cannot_be_decompressed_is_named(inspect, encoding, body, message):
    ran = await inspect_response(inspect, 200, body, Content_Encoding=encoding)

    assert (ran.returncode, message in ran.stderr) == (2, True), ran.stderr


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
async def test_a_response_in_several_members_or_frames_is_read_to_its_end(inspect, compress):
    head, tail = GOOD[:20].encode(), GOOD[20:].encode()
    encoding = "gzip" if compress is gzip.compress else "zstd"
    body = compress(head) + compress(tail) + b"trailing bytes"
    ran = await inspect_response(inspect, 200, body, Content_Encoding=encoding, Content_Type=M3U8)

    assert lines(ran)[0]["findings"] == []


async def test_a_partial_response_with_the_whole_file_is_read(inspect):
    size = len(GOOD)
    whole = await inspect_response(inspect, 206, GOOD.encode(), Content_Range=f"bytes 0-{size - 1}/{size}", Content_Type=M3U8)  # fmt: skip
    part = await inspect_response(inspect, 206, GOOD.encode()[:40], Content_Range=f"bytes 0-39/{size}")  # fmt: skip

    assert lines(whole)[0]["verdict"] == "ok"
    assert part.returncode == 2
    assert "HTTP 206, which is only a part of the file" in part.stderr


async def test_a_missing_content_type_is_named(inspect):
    ran = await inspect_response(inspect, 200, GOOD.encode(), Content_Type="")

    assert [finding["rule"] for finding in lines(ran)[0]["findings"]] == ["content-type-missing"]
