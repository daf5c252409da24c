"""Log lines: readable on a terminal, JSON otherwise, and without control characters."""

import asyncio
import io
import json
import os
import pty
import re

import pytest
from ports import free_port
from processes import playgate, run_process
from support import SANDBOX_TOML

from proxy.adapters.logs import build_console_processors, build_logger


def format_for_console(*, colors: bool = False, **fields: object) -> str:
    stream = io.StringIO()
    build_logger(stream, processors=build_console_processors(colors=colors)).info(
        "request", **fields
    )
    return stream.getvalue()


def test_a_console_line_has_the_time_level_event_and_non_empty_fields():
    line = format_for_console(
        status=401, reason="token-missing", video=None, jti="", is_new=False, count=0
    )

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} \[info\] request +count=0 is_new=False reason=token-missing status=401\n"
        r"|\d\d:\d\d:\d\d\.\d{3} \[info\] request +status=401 reason=token-missing is_new=False count=0\n",
        line,
    ), line
    assert "\x1b[" in format_for_console(colors=True, status=401)


@pytest.mark.parametrize("value", ["\x1b[2J", "a\nb", "\x07", "\u202e", "\x9b31m"])
def test_control_characters_in_a_field_are_escaped(value):
    line = format_for_console(detail=value)

    assert line.count("\n") == 1 and line.strip().isprintable()


def test_a_traceback_is_indented_and_its_control_characters_are_escaped():
    stream = io.StringIO()
    log = build_logger(stream, processors=build_console_processors(colors=False))
    log.error("internal", exc_info=ValueError("\x1b[2Jhello\r\n12:00:00.000 [info] request"))

    first, *others = stream.getvalue().splitlines()
    assert "internal" in first and "\x1b" not in stream.getvalue()
    assert others and all(not line or line.startswith("    ") for line in others)


def raise_with_secret_variable() -> None:
    secret = "hush" * 2
    raise ValueError(len(secret))


def test_a_traceback_shows_no_local_variables():
    stream = io.StringIO()
    log = build_logger(stream, processors=build_console_processors(colors=False))
    try:
        raise_with_secret_variable()
    except ValueError as error:
        log.exception("internal", exc_info=error)

    assert "ValueError: 8" in stream.getvalue() and "hushhush" not in stream.getvalue()


def test_events_below_the_level_are_not_logged():
    stream = io.StringIO()
    log = build_logger(stream, level="warning")
    log.info("request")
    log.warning("state-failing")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "state-failing"
    ]


async def read_first_line(*, terminal: bool, **env: str) -> str:
    """Return the first line that an edge logs, to a terminal or to a pipe."""
    ports = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{free_port()}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{free_port()}",
    }
    command = playgate("serve", "--config", SANDBOX_TOML)
    if not terminal:
        async with run_process(*command, env={**ports, **env}) as process:
            await process.wait_for_output("\n")
            assert await process.stop() == 0
            return process.output.splitlines()[0]
    controller, terminal_end = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=terminal_end,
        stdout=terminal_end,
        stderr=terminal_end,
        env={**os.environ, "NO_COLOR": "", **ports, **env},
    )
    os.close(terminal_end)
    try:
        async with asyncio.timeout(60):
            output = b""
            while b"\n" not in output:
                output += await asyncio.to_thread(os.read, controller, 4096)
        return output.decode().splitlines()[0]
    finally:
        process.terminate()
        await process.wait()
        os.close(controller)


@pytest.mark.parametrize(
    ("terminal", "env", "is_json", "is_coloured"),
    [
        (True, {}, False, True),
        (True, {"NO_COLOR": "1"}, False, False),
        (True, {"PLAYGATE_LOG__FORMAT": "json"}, True, False),
        (False, {}, True, False),
        (False, {"PLAYGATE_LOG__FORMAT": "console"}, False, False),
    ],
    ids=["terminal", "no colour", "terminal, json", "pipe", "pipe, console"],
)
async def test_the_log_format_depends_on_the_terminal_and_the_settings(
    *, terminal, env, is_json, is_coloured
):
    line = await read_first_line(terminal=terminal, **env)

    assert "serving" in line and str(SANDBOX_TOML) in line
    assert line.startswith("{") is is_json
    assert ("\x1b[" in line) is is_coloured
