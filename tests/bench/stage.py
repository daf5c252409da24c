"""Run every measured server on one core, and the stand-in for Dailymotion on the other."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from nginx_server import Upstream as RelayedFrom
from nginx_server import set_addresses, set_port_and_folders
from ports import free_port
from relay_stack import NameServer
from support import ROOT, SANDBOX_TOML, build_sandbox_minter

from bench.requests import SECRET, VIDEO, build_viewer_address
from bench.servers import Server, build_python_command, run_nginx, run_on_core
from bench.upstream import Upstream

SERVER_CORE, LOAD_CORE = 0, 1
HLS_PROXY = ROOT / "npm/node_modules/@warren-bank/hls-proxy/hls-proxy/bin/hlsd.js"
BASELINES = ("redirect", "no-content", "one-call", "guides", "playlist")

PLAIN_SERVER = """
        location /play/ {{
            secure_link $arg_md5,$arg_expires;
            secure_link_md5 "$secure_link_expires$uri {secret}";
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
            return 302 https://cdndirector.dailymotion.com/cdn/manifest/video/x8abcd.m3u8;
        }}
        location / {{
            resolver {resolver} valid=30s ipv6=off;
            set $cdn {host}; # a variable, since the hosts of a CDN are not known beforehand
            proxy_pass https://$cdn;
            proxy_ssl_server_name on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
        }}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers by name, and the environment variables to start further ones."""

    servers: Mapping[str, Server]
    environment: Mapping[str, str]


@contextmanager
def run_stage(nginx: str, folder: Path, upstream: Upstream) -> Iterator[Stage]:
    """Start the baselines, the edge and both nginx servers."""
    environment = {
        **upstream.environment,
        "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]',
        # With the defaults, the edge would refuse some of 512 concurrent plays; on a slow machine,
        # a higher concurrency alone is not enough.
        "PLAYGATE_LIMITS__CONCURRENCY": "256",
        "PLAYGATE_PLATFORM__PLAY_TIMEOUT": "20",
        "PLAYGATE_DELIVERY__RULES": '[{"videos": "x8(?:fresh|moving)?(?:vod|live)[0-9]+", "mode": "relay"}]',
    }
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(run_baseline(kind, environment)) for kind in BASELINES}
        operator = free_port()
        edge = stack.enter_context(run_edge(environment, operator, folder / "edge.log"))
        resolver = stack.enter_context(run_name_server())
        relays = RelayedFrom(upstream.host, f"127.0.0.1:{resolver}", upstream.authority)
        deployed = set_addresses([edge.port], [operator])
        servers |= {
            "edge": edge,
            "operator port": Server(operator, edge.pids),
            # nginx and the edge share the work, so the CPU time of both counts.
            "nginx": join_servers(
                stack.enter_context(run_relay_nginx(nginx, folder / "nginx", deployed, relays)),
                edge,
            ),
            "hls-proxy": stack.enter_context(run_hls_proxy(upstream.authority)),
            "plain nginx": stack.enter_context(run_plain_nginx(nginx, folder / "plain", relays)),
        }
        servers["secure-link"] = servers["plain nginx"]
        yield Stage(servers, environment)


def join_servers(first: Server, second: Server) -> Server:
    """Return a server on the first one's port that counts the CPU time of both."""
    return Server(first.port, (*first.pids, *second.pids))


@contextmanager
def run_plain_nginx(program: str, folder: Path, relays: RelayedFrom) -> Iterator[Server]:
    server = PLAIN_SERVER.format(
        host=relays.host, resolver=relays.resolver, authority=relays.authority, secret=SECRET
    )
    log = str(folder / "access.log")
    port = free_port()
    with run_nginx(program, folder, SERVER_CORE, port, server, tls=False, log=log) as running:
        yield running


@contextmanager
def run_baseline(kind: str, environment: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    command = build_python_command("-m", "bench.baselines", kind, str(port))
    with run_on_core(SERVER_CORE, port, *command, env=environment) as server:
        yield server


@contextmanager
def run_hls_proxy(authority: Path) -> Iterator[Server]:
    """Run (e): an HLS proxy for Node, which rewrites playlists for one user without checks."""
    port = free_port()
    command = [
        "node",
        str(HLS_PROXY),
        "--host",
        f"127.0.0.1:{port}",
        "--port",
        str(port),
        "-v",
        "-1",
    ]
    environment = {"NODE_EXTRA_CA_CERTS": str(authority)}
    with run_on_core(SERVER_CORE, port, *command, env=environment) as server:
        yield server


@contextmanager
def run_edge(environment: Mapping[str, str], operator: int, log: Path) -> Iterator[Server]:
    port = free_port()
    ports = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{port}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    command = build_python_command("-m", "proxy", "serve", "--config", str(SANDBOX_TOML))
    with run_on_core(
        SERVER_CORE, port, *command, env={**environment, **ports}, output=log
    ) as server:
        yield server


@contextmanager
def run_relay_nginx(program: str, folder: Path, text: str, relays: RelayedFrom) -> Iterator[Server]:
    port = free_port()
    (folder / "cache").mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(
        set_port_and_folders(text, folder, port, relays).replace("max_size=10g", "max_size=1g")
    )
    command = [program, "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]
    with run_on_core(SERVER_CORE, port, *command, output=folder / "stderr") as server:
        yield server


@contextmanager
def run_name_server() -> Iterator[int]:
    """Run a name server for nginx's resolver in a thread; yield its port."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opening = loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    transport, _ = asyncio.run_coroutine_threadsafe(opening, loop).result(10)
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class NoRedirect(HTTPRedirectHandler):
    """Raises HTTPError for a redirect instead of following it."""

    def redirect_request(self, *_arguments: object) -> None:
        return None


def measure_first_play(environment: Mapping[str, str], kind: str, log: Path) -> float:
    """Return the seconds from the start of a server to its first successful play."""
    token = build_sandbox_minter().mint(video=VIDEO).token
    started = monotonic()
    starting = (
        run_edge(environment, free_port(), log)
        if kind == "edge"
        else run_baseline(kind, environment)
    )
    with starting as server:
        url = f"http://127.0.0.1:{server.port}/play/{VIDEO}.m3u8?token={token}"
        while True:
            try:
                build_opener(NoRedirect).open(
                    Request(url, headers={"X-Forwarded-For": build_viewer_address(1)})
                )
            except HTTPError as response:
                if response.code == 302:
                    return monotonic() - started
            sleep(0.005)
