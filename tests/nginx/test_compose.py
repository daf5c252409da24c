"""What deploy/compose.yaml makes of deploy/nginx.conf, with real nginx and two edges."""

import subprocess

import yaml
from nginx_server import BEHIND, CONF, running_nginx
from support import ROOT, an_edge

NETWORK, HERE = "172.30.77.", "127.30.77."  # the whole of 127.0.0.0/8 is this machine
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def address_of(service: str) -> str:
    address: str = COMPOSE["services"][service]["networks"]["default"]["ipv4_address"]
    return address.replace(NETWORK, HERE)


def nginx_conf(folder) -> str:
    """Return the file that the nginx of the compose file writes for itself."""
    shell, option, script = COMPOSE["services"]["nginx"]["command"]
    rewrite, _, start = script.partition(" && ")
    assert (shell, option, start) == ("sh", "-c", "exec nginx -c /tmp/nginx.conf -g 'daemon off;'")
    for inside, here in {
        "/etc/playgate/nginx.conf": CONF,
        "/tmp/nginx.conf": folder / "conf",
    }.items():
        assert inside in rewrite
        rewrite = rewrite.replace(inside, str(here))
    subprocess.run([shell, option, rewrite], check=True)
    return (folder / "conf").read_text()


async def test_its_nginx_finds_both_edges_and_asks_them_about_guarded_files(
    component, sandbox, tmp_path
):
    text = nginx_conf(tmp_path)
    assert "8083" not in text and "/run/playgate" not in text
    text = text.replace(NETWORK, HERE).replace("127.0.0.11", "127.0.0.53")
    first, second = (
        an_edge(
            sandbox,
            web={"listen": f"{address_of(name)}:8080"},
            operator={"listen": f"{address_of(name)}:8081"},
            **BEHIND,
        )
        for name in ("edge1", "edge2")
    )
    async with first as one, running_nginx(component("nginx"), tmp_path, text) as nginx:
        async with second as two:
            for _ in range(6):
                status, _ = await nginx.ask(f"/play/x8demo1.m3u8?token={one.mint()}")
                assert status == 302
            assert one.lines() and two.lines()
        guarded = f"/hls/x8abcd/index.m3u8?token={one.mint('x8abcd')}"
        for _ in range(4):  # the other one is gone
            assert (await nginx.ask(guarded))[0] == 200
            assert (await nginx.ask(f"/play/x8demo1.m3u8?token={one.mint()}"))[0] == 302
        assert (await nginx.ask("/hls/x8abcd/index.m3u8"))[0] == 401
