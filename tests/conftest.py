"""Fixtures of all tests. If a program is not installed, a test is skipped, or fails in CI."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright
from redis_server import RedisServer, run_redis
from support import (
    CHROMIUM_FLAGS,
    RunningEdge,
    StillClock,
    run_test_edge,
    run_test_sandbox,
    skip_or_fail,
)

from proxy.sandbox.state import Sandbox

# Under nohup or a shell's `&`, signals are ignored, and child processes would inherit that. A child
# does not inherit a handler: it starts with the default action.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda _number, _frame: None)


# Folders whose tests run in `make check`, and those that `make test` adds. All other tests run in
# `make test-all`, except those with the marker `smoke`, which `make test` runs too.
CHECKED = {"domain", "hls", "settings", "edge", "web"}
INTEGRATION = {"adapters", "cli", "docs", "sandbox"}

NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")  # as deploy/nginx.conf names it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the marker that the make targets select tests by; it depends on the folder only."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder not in CHECKED:
            item.add_marker("integration" if folder in INTEGRATION else "system")


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with run_test_sandbox() as running:
        yield running


@pytest.fixture
async def edge(sandbox: Sandbox) -> AsyncIterator[RunningEdge]:
    async with run_test_edge(sandbox) as running:
        yield running


@pytest.fixture
async def start_edge(sandbox: Sandbox) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts an edge with the settings it is given."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> RunningEdge:
            return await stack.enter_async_context(
                run_test_edge(options.pop("sandbox", sandbox), **options)
            )

        yield start


@pytest.fixture(scope="session")
def component() -> Callable[[str], str]:
    """Return a function that returns a program's path, or skips the test if there is none."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if path is None:
            skip_or_fail(f"{name} is not installed")
        if name == "nginx" and not NJS.exists():
            skip_or_fail("libnginx-mod-http-js is not installed; deploy/nginx.conf loads it")
        return path

    return find


@pytest.fixture
async def server(component: Callable[[str], str], tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Return a real Redis server for one test."""
    async with run_redis(component("redis-server"), tmp_path) as running:
        yield running


@pytest.fixture
async def browser(component: Callable[[str], str]) -> AsyncIterator[Browser]:
    program = component("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove Playgate's environment variables of this machine."""
    for name in list(os.environ):
        if name.startswith("PLAYGATE_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
