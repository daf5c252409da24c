"""Everything that is measured, running: on one core; and on the other, what stands for Dailymotion."""

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
from nginx_server import addressed, placed
from ports import free_port
from relay_stack import NameServer
from support import SANDBOX_TOML

from bench.requests import SECRET, VIDEO, minting, viewer
from bench.servers import Server, a_plain_nginx, python, started_on
from bench.upstream import Upstream

SERVED_ON, LOADED_FROM = 0, 1  # cores
BARE = ("redirect", "no-content", "one-call", "guides", "playlist")

PLAIN = """
        location /play/ {{
            secure_link $arg_md5,$arg_expires;
            secure_link_md5 "$secure_link_expires$uri {secret}";
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
            return 302 https://cdndirector.dailymotion.com/cdn/manifest/video/x8abcd.m3u8;
        }}
        location / {{
            resolver {resolver} valid=30s ipv6=off;
            set $cdn {host}; # the hosts of a CDN are not known beforehand
            proxy_pass https://$cdn;
            proxy_ssl_server_name on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
        }}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers by name, and how to start those whose start is measured."""

    servers: Mapping[str, Server]
    environment: Mapping[str, str]


@contextmanager
def staged(nginx: str, folder: Path, upstream: Upstream) -> Iterator[Stage]:
    """Start all of it."""
    environment = {
        **upstream.environment,
        "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]',
        # With the defaults, 512 plays at once would be shed, on a slow machine even with more places.
        "PLAYGATE_LIMITS__CONCURRENCY": "256",
        "PLAYGATE_PLATFORM__PLAY_TIMEOUT": "20",
        "PLAYGATE_DELIVERY__RULES": '[{"videos": "x8has[0-9]+", "mode": "relay"}]',
    }
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(a_bare(kind, environment)) for kind in BARE}
        operator = free_port()
        edge = stack.enter_context(an_edge(environment, operator, folder / "edge.log"))
        resolver = stack.enter_context(a_name_server())
        relays = RelayedFrom(upstream.host, f"127.0.0.1:{resolver}", upstream.authority)
        deployed = addressed([edge.port], [operator])
        servers |= {
            "edge": edge,
            "operator port": Server(operator, edge.pids),
            # Two processes share the work, and both are paid for.
            "nginx": joined(
                stack.enter_context(an_nginx(nginx, folder / "nginx", deployed, relays)), edge
            ),
            "plain nginx": stack.enter_context(a_plain(nginx, folder / "plain", relays)),
        }
        servers["secure-link"] = servers["plain nginx"]
        yield Stage(servers, environment)


def joined(first: Server, second: Server) -> Server:
    return Server(first.port, (*first.pids, *second.pids))


@contextmanager
def a_plain(program: str, folder: Path, relays: RelayedFrom) -> Iterator[Server]:
    server = PLAIN.format(
        host=relays.host, resolver=relays.resolver, authority=relays.authority, secret=SECRET
    )
    log = str(folder / "access.log")
    port = free_port()
    with a_plain_nginx(program, folder, SERVED_ON, port, server, tls=False, log=log) as running:
        yield running


@contextmanager
def a_bare(kind: str, environment: Mapping[str, str]) -> Iterator[Server]:
    port = free_port()
    command = python("-m", "bench.baselines", kind, str(port))
    with started_on(SERVED_ON, port, *command, env=environment) as server:
        yield server


@contextmanager
def an_edge(environment: Mapping[str, str], operator: int, log: Path) -> Iterator[Server]:
    port = free_port()
    ports = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{port}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    command = python("-m", "proxy", "serve", "--config", str(SANDBOX_TOML))
    with started_on(SERVED_ON, port, *command, env={**environment, **ports}, output=log) as server:
        yield server


@contextmanager
def an_nginx(program: str, folder: Path, text: str, relays: RelayedFrom) -> Iterator[Server]:
    port = free_port()
    (folder / "cache").mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(placed(text, folder, port, relays).replace("max_size=10g", "max_size=1g"))
    command = [program, "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]
    with started_on(SERVED_ON, port, *command, output=folder / "stderr") as server:
        yield server


@contextmanager
def a_name_server() -> Iterator[int]:
    """Answer nginx's resolver, in a thread; yield the port."""
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
    def redirect_request(self, *_arguments: object) -> None:
        return None


def seconds_to_first_play(environment: Mapping[str, str], kind: str, log: Path) -> float:
    """Return how long it takes from a start to the first answered play."""
    token = minting().mint(video=VIDEO).token
    started = monotonic()
    starting = (
        an_edge(environment, free_port(), log) if kind == "edge" else a_bare(kind, environment)
    )
    with starting as server:
        url = f"http://127.0.0.1:{server.port}/play/{VIDEO}.m3u8?token={token}"
        while True:
            try:
                build_opener(NoRedirect).open(Request(url, headers={"X-Forwarded-For": viewer(1)}))
            except HTTPError as answer:
                if answer.code == 302:
                    return monotonic() - started
            sleep(0.005)
