"""Helpers of all tests: an edge in front of a sandbox, a clock set by the test, keys, tokens."""

import asyncio
import hmac
import io
import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from time import time
from typing import Any, NoReturn

import aiohttp
import pytest
from aiohttp import web
from openapi_contract import check_response
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.adapters.telemetry import build_telemetry
from proxy.domain.play_request import PlayRequest
from proxy.domain.tokens.keyring import SigningKey, load_key
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.domain.video import VideoId
from proxy.edge.shared_state import SharedState
from proxy.edge.token_minter import TokenMinter
from proxy.reloading import SettingsSource
from proxy.sandbox.app import BASE_PATHS
from proxy.sandbox.server import run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.serving import Edge, run_edge
from proxy.settings import Settings, load_settings
from proxy.settings.platform import get_key_kind

ROOT = Path(__file__).parent.parent
SANDBOX_TOML = ROOT / "config" / "sandbox.toml"
# No flags for autoplay or GPU, so that Chromium behaves as a viewer's. Chromium's own sandbox does
# not work as root, which CI runs as.
CHROMIUM_FLAGS = ["--no-sandbox"]
SECRET = "sandbox-signing-key-known-to-everybody"
OPERATOR_KEY = "sandbox-operator-key-known-to-everybody"
CREDENTIALS = ("sandbox", "sandbox-secret")
NOW = 1_800_000_000
PLAYLIST_HEADERS = (("Content-Type", "application/vnd.apple.mpegurl"),)


class StillClock(Clock):
    """A clock that moves only in `advance`, which wakes every sleeper whose time has come."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now
        self.ticks = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.ticks + seconds, woken))
        await woken.wait()

    @property
    def has_sleepers(self) -> bool:
        return bool(self._sleepers)

    async def next_sleeper(self) -> float:
        """Wait until a task sleeps; return the seconds until the first sleeper wakes."""
        await wait_until(lambda: self._sleepers)
        return min(until for until, _ in self._sleepers) - self.ticks

    def advance(self, seconds: float) -> None:
        self.time += seconds
        self.ticks += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.ticks]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper not in due]
        for _, woken in due:
            woken.set()


@dataclass(slots=True)
class RunningEdge:
    """An edge under test, with methods that send requests to it and read its log and metrics."""

    edge: Edge
    log: io.StringIO
    sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)

    @property
    def player(self) -> str:
        return f"http://{self.edge.player}"

    @property
    def operator(self) -> str:
        return f"http://{self.edge.operator}"

    def mint(self, video: str = "x8demo1", **options: Any) -> str:
        services = self.edge.apps.services
        minter = TokenMinter(services.settings, services.telemetry.clock)
        return minter.mint(video=video, **options).token

    def play_url(self, video: str = "x8demo1", token: str | None = None) -> str:
        return (
            f"{self.player}/play/{video}.m3u8?token={self.mint(video) if token is None else token}"
        )

    async def get(
        self, url: str, *, method: str = "GET", source: str = "127.0.0.1", **options: Any
    ) -> "Response":
        """Send a request whose URL is not re-encoded, from the local address `source`.

        A response of the edge itself must match the OpenAPI document of its port.
        """
        async with self.from_address(source).request(
            method, URL(url, encoded=True), allow_redirects=False, **options
        ) as response:
            received = Response(response.status, response.headers, await response.read())
        # Not for the URLs of a proxy in front of the edge, or of the sandbox.
        if url.startswith((f"{self.player}/", f"{self.operator}/")):
            check_response(method, url, received.status, received.headers, received.body)
        return received

    async def get_outcome(self, url: str, **options: Any) -> str | int:
        """Send a request; return the reason of its refusal, or its status if it is not refused."""
        return (await self.get(url, **options)).outcome

    async def try_play(
        self, video: str = "x8demo1", token: str | None = None, **options: Any
    ) -> str | int:
        """Play a video; return the reason of the refusal, or the status if it is not refused."""
        return await self.get_outcome(self.play_url(video, token), **options)

    async def play(self, video: str = "x8demo1", **options: Any) -> "Response":
        return await self.get(self.play_url(video), **options)

    def from_address(self, source: str) -> aiohttp.ClientSession:
        if source not in self.sessions:
            connector = aiohttp.TCPConnector(local_addr=(source, 0), limit=0)
            self.sessions[source] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self.sessions[source]

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    async def metric(self, name: str) -> dict[str, float]:
        """Return the value of each series of a metric, by the labels between its braces.

        Counters that are zero are left out.
        """
        text = (await self.get(f"{self.operator}/metrics")).body.decode()
        return {
            line.rpartition(" ")[0].removeprefix(name).strip("{}"): float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
            if not (name.endswith(("_total", "_count")) and line.endswith(" 0.0"))
        }


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body has been read."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str | None:
        return self.headers.get("X-Deny-Reason")

    @property
    def outcome(self) -> str | int:
        """The reason of the refusal, or the status if the request is not refused."""
        return self.reason or self.status

    @property
    def location(self) -> str:
        return self.headers["Location"]


def build_settings_for(sandbox: Sandbox, *, config: Path = SANDBOX_TOML, **tables: Any) -> Settings:
    """Return settings of an edge on free ports that uses a sandbox; `tables` override them."""
    platform = tables.get("platform", {})
    kind = get_key_kind(platform.get("grant", "client_credentials"))
    token_path, rest_path = BASE_PATHS[platform.get("api", "legacy"), kind]
    settings: dict[str, Any] = {
        "web": {"listen": "127.0.0.1:0"},
        "operator": {"listen": "127.0.0.1:0"},
        "state": {"timeout": 5},  # seconds; a slow machine must not look like failing Redis
        "platform": {
            "token_url": f"{sandbox.origin}{token_path}",
            "rest_url": f"{sandbox.origin}{rest_path}",
            "allowed_hosts": [URL(sandbox.origin).authority],
        },
        "videos": {
            "token_url": f"{sandbox.origin}/oauth/v1/token",
            "rest_url": f"{sandbox.origin}/rest",
        },
    }
    for table, members in tables.items():
        settings[table] = {**settings.get(table, {}), **members}
    return load_settings(config, **settings)


@asynccontextmanager
async def run_test_edge(
    sandbox: Sandbox, *, clock: Clock | None = None, **tables: Any
) -> AsyncIterator[RunningEdge]:
    """Run an edge in front of a sandbox; `tables` override its settings."""
    settings = build_settings_for(sandbox, **tables)
    async with _run_recorded_edge(settings, clock=clock) as running:
        yield running


@asynccontextmanager
async def run_reloading_edge(
    load: Callable[[], Settings], config: Path
) -> AsyncIterator[RunningEdge]:
    """Run an edge that reloads its settings whenever the file `config` changes."""
    source = SettingsSource(load=load, path=config, began_at=time())
    async with _run_recorded_edge(load(), source=source) as running:
        yield running


@asynccontextmanager
async def _run_recorded_edge(settings: Settings, **options: Any) -> AsyncIterator[RunningEdge]:
    log = io.StringIO()
    async with run_edge(settings, log=build_logger(log), **options) as edge:
        running = RunningEdge(edge, log)
        try:
            yield running
        finally:
            for session in running.sessions.values():
                await session.close()


@asynccontextmanager
async def serve_app(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free local port; yield its origin."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def run_test_sandbox(**options: Any) -> Any:
    """Return a context manager that runs a sandbox on a free port."""
    return run_sandbox(Sandbox(**options))


def b64(value: bytes | str | dict[str, Any]) -> str:
    """Return a value as base64url without padding; a dict is encoded as JSON first."""
    if isinstance(value, dict):
        value = json.dumps(value)
    raw = value.encode() if isinstance(value, str) else value
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign_token(
    header: object, payload: object, secret: str = SECRET, digest: str = "sha256"
) -> str:
    """Return a token with any header and payload, even invalid ones, and a valid signature."""
    parts = (
        part if isinstance(part, bytes | str) else json.dumps(part) for part in (header, payload)
    )
    signing_input = ".".join(map(b64, parts))
    return f"{signing_input}.{b64(hmac.digest(secret.encode(), signing_input.encode(), digest))}"


def run_module(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program under tests/ the way its make target does."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        cwd=ROOT,
        check=False,
        timeout=600,
    )


def mint(
    key: SigningKey,
    *,
    video: str,
    issued_at: int,
    ttl: int,
    network: object = None,
    subject: str | None = None,
    audience: str | None = None,
    formats: Sequence[str] = (),
    limits: VariantLimits = NO_LIMITS,
    **claims: object,
) -> str:
    """Return a token in the form that the edge mints; `claims` override its claims."""
    standard_claims = {
        "video": video,
        "iat": issued_at,
        "exp": issued_at + ttl,
        "ip": None if network is None else str(network),
        "sub": subject,
        "aud": audience,
        "iss": key.issuer,
        "fmt": list(formats) or None,
        "max_height": limits.max_height,
        "max_bandwidth": limits.max_bandwidth,
    }
    return key.sign({**standard_claims, **claims})


def build_sandbox_minter(clock: Clock | None = None) -> TokenMinter:
    """Return a minter with the key in config/sandbox.toml."""
    return TokenMinter(load_settings(SANDBOX_TOML), clock or Clock())


def build_play_request(**options: Any) -> PlayRequest:
    """Return a play request from a public viewer address; `options` override its fields."""
    defaults: dict[str, Any] = {
        "video": VideoId("x8abcd"),
        "viewer": IPv4Address("8.8.4.4"),
        "client_ip": None,
        "formats": ("hls",),
        "method": "GET",
        "token": "",
    }
    return PlayRequest(**{**defaults, **options})


def hs256_key(kid: str = "one", secret: str = SECRET, issuer: str | None = None) -> SigningKey:
    return load_key(kid=kid, algorithm="HS256", material=secret, issuer=issuer)


def skip_or_fail(reason: str) -> NoReturn:
    """Skip a test that this machine cannot run; fail instead if CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def build_state(store: Any, clock: Clock, *, timeout: float = 1, log: Any = None) -> SharedState:
    """Return the shared state of an edge on top of a store."""
    return SharedState(store, build_telemetry(log, clock), timeout=timeout)


async def wait_until(condition: Any, seconds: float = 20.0) -> None:
    """Wait until `condition()` is true; it may be a coroutine function.

    Raises:
        TimeoutError: the condition is not true after `seconds`.
    """
    async with asyncio.timeout(seconds):
        while True:
            is_true = condition()
            if asyncio.iscoroutine(is_true):
                is_true = await is_true
            if is_true:
                return
            await asyncio.sleep(0.01)
