"""`playgate videos`: list, upload, edit and delete videos in the sandbox."""

import asyncio
import json
import os
import re

import pytest
from account_settings import PASSWORD, PUBLIC
from processes import playgate, run_process
from support import SANDBOX_TOML, run_test_edge
from yarl import URL

from proxy.sandbox.catalogue import Video
from proxy.sandbox.controls import Fault

PRIVATE_KEY = {"api_key": "sandbox-studio", "api_secret": "sandbox-studio-secret"}
PUBLIC_KEY = PASSWORD


@pytest.fixture(params=["private", "public"])
def account(request):
    return PRIVATE_KEY if request.param == "private" else PUBLIC_KEY


async def run_videos(sandbox, *command: str, account=PRIVATE_KEY, typed: str = ""):
    """Run `playgate videos …`; return its exit code and what it printed."""
    is_public = account.get("grant") == "password"
    env = {
        "PLAYGATE_CONFIG": str(SANDBOX_TOML),
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
        "PLAYGATE_VIDEOS__TOKEN_URL": f"{sandbox.origin}/oauth/{'' if is_public else 'v1/'}token",
        "PLAYGATE_VIDEOS__REST_URL": f"{sandbox.origin}{'' if is_public else '/rest'}",
        **{f"PLAYGATE_VIDEOS__{name.upper()}": value for name, value in account.items()},
    }
    async with run_process(
        *playgate("videos", *command), env=env, stdin=asyncio.subprocess.PIPE
    ) as process:
        process.process.stdin.write(typed.encode())
        process.process.stdin.close()
        code = await process.wait_for_exit()
    assert "-secret" not in process.output and "sandbox-password" not in process.output
    assert "Traceback" not in process.output
    return code, process.output


async def test_a_video_can_be_uploaded_played_edited_and_deleted(sandbox, account, tmp_path):
    file = tmp_path / "my test.mp4"
    file.write_bytes(b"x" * 3_000_000)
    code, output = await run_videos(sandbox, "upload", str(file), account=account)
    assert code == 0, output
    video = output.splitlines()[0]
    assert re.fullmatch(r"x[0-9a-z]+", video)
    assert f"playgate token mint --video {video} --url" in output

    async with run_test_edge(sandbox) as edge:
        answer = await edge.play(video)
        assert answer.status == 302
        assert (await edge.get(answer.location)).body.startswith(b"#EXTM3U")
        code, output = await run_videos(
            sandbox, "edit", video, "--title", "Better", account=account
        )
        assert (code, output) == (0, f"{video}: changed\n")
        assert sandbox.videos[video].title == "Better"

        code, output = await run_videos(sandbox, "delete", video, account=account, typed="y\n")
        assert code == 0 and f"Delete {video}, 'Better'? This cannot be undone." in output
        assert (await edge.play(video)).reason == "video-not-found"


async def test_upload_sends_the_title_and_flags(sandbox, tmp_path):
    file = tmp_path / "f.mp4"
    file.write_bytes(b"x")
    code, output = await run_videos(
        sandbox, "upload", str(file), "--title", "Ein Titel & mehr", "--draft", "--private"
    )
    video = sandbox.videos[output.splitlines()[0]]

    assert (code, video.title) == (0, "Ein Titel & mehr")
    assert video.fields["published"] is False and video.fields["private"] is True


async def test_list_fetches_all_pages(sandbox):
    for number in range(130):
        sandbox.videos[f"x9n{number:03}"] = Video(title=f"Number {number}", expect="plays")
    code, output = await run_videos(sandbox, "list", "--limit", "500", "--json")
    found = [json.loads(line) for line in output.splitlines()]

    assert code == 0
    assert len({it["id"] for it in found}) == len(found) > 130
    code, output = await run_videos(sandbox, "list", "--limit", "7")
    assert code == 0 and len(output.splitlines()) == 8
    assert output.split() and output.startswith("id")


@pytest.mark.parametrize("typed", ["n\n", ""])
async def test_delete_needs_a_confirmation(sandbox, typed):
    code, output = await run_videos(sandbox, "delete", "x8demo1", typed=typed)

    assert (code, "Aborted" in output) == (1, True)
    assert "x8demo1" in sandbox.videos


async def test_delete_with_yes_needs_no_confirmation(sandbox):
    assert await run_videos(sandbox, "delete", "x8demo1", "--yes") == (0, "x8demo1: deleted\n")
    code, output = await run_videos(sandbox, "delete", "x8demo1", "--yes")
    assert (code, "video-not-found: videos: HTTP 404" in output) == (1, True)


@pytest.mark.parametrize(
    ("command", "account", "says"),
    [
        (["list"], {"api_key": ""}, "videos.api_key is not set"),
        (["list"], {"channel_id": ""}, "videos.channel_id is not set"),
        (["list"], {"channel_id": "x1other"}, "video-not-found"),
        (
            ["list"],
            {"scope": "read_something"},
            "can-read-videos 403; check videos.scope and the API key's",
        ),
        (["list"], {"api_secret": "wrong"}, "platform-credentials: token endpoint: HTTP 400"),
        (["list"], PUBLIC, "this grant needs a private API key"),
        (["list"], {"api_key": "sandbox"}, "must differ from platform.api_key"),
        (["list"], {"grant": "password"}, "videos.username: is not set, but required"),
        (["edit", "x8demo1"], {}, "nothing to change"),
        (["edit", "../x", "--title", "t"], {}, "'../x' is not a video ID"),
        (["upload", "/does/not/exist"], {}, "does not exist"),
    ],
)
async def test_an_invalid_command_or_setting_is_explained(sandbox, command, account, says):
    code, output = await run_videos(sandbox, *command, account={**PRIVATE_KEY, **account})

    assert code != 0
    assert says in " ".join(output.split())


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Fault(status=500), "platform-unreachable: videos: upload: HTTP 500"),
        (Fault(cut="before"), "platform-unreachable: videos: the connection to"),
        (Fault(status=413, body="<html>"), "platform-bad-response: videos: HTTP 413 without JSON"),
        (Fault(status=200, body="{}"), "platform-bad-response: videos: no url in the response"),
    ],
)
async def test_an_upload_that_fails_publishes_nothing(sandbox, tmp_path, broken, says):
    file = tmp_path / "f.mp4"
    file.write_bytes(b"x" * 100_000)
    before = set(sandbox.videos)
    sandbox.controls.set_fault("upload", broken)
    code, output = await run_videos(sandbox, "upload", str(file))

    assert code == 1 and says in output
    assert set(sandbox.videos) == before


async def test_a_file_may_have_any_name(sandbox, tmp_path):
    names = (b"b\xff.mp4", b'[red]"x\n\x1b.mp4', "Où\u00a0? \U0001f469.mp4".encode())
    for name in names:
        file = tmp_path / os.fsdecode(name)
        file.write_bytes(b"x")
        code, output = await run_videos(sandbox, "upload", str(file))

        assert code == 0, output
        assert sandbox.videos[output.splitlines()[0]].title == name[:-4].decode(errors="replace")


@pytest.mark.parametrize("command", [["upload", "f.mp4"], ["edit", "x8demo1"]])
async def test_a_title_that_is_not_utf_8_is_refused_before_any_request(sandbox, tmp_path, command):
    file = tmp_path / "f.mp4"
    file.write_bytes(b"x")
    words = [str(file) if word == "f.mp4" else word for word in command]
    code, output = await run_videos(sandbox, *words, "--title", "t\udcff")

    assert (code, output) == (1, "--title: 't\ufffd' is not valid UTF-8\n")
    assert sandbox.controls.calls["upload"] == 0


async def test_a_failed_edit_is_not_retried(sandbox):
    sandbox.controls.set_fault("manage", Fault(status=503))
    code, _ = await run_videos(sandbox, "edit", "x8demo1", "--title", "t")

    assert code == 1
    assert sandbox.controls.calls["manage"] == 1
