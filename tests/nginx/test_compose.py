"""The nginx configuration that deploy/compose.yaml generates, with real nginx and two edges."""

import subprocess

import yaml
from nginx_server import BEHIND, CONF, run_nginx_process
from support import ROOT, run_test_edge

# Every address in 127.0.0.0/8 is local.
COMPOSE_PREFIX, LOCAL_PREFIX = "172.30.77.", "127.30.77."
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def find_address(service: str) -> str:
    address: str = COMPOSE["services"][service]["networks"]["default"]["ipv4_address"]
    return address.replace(COMPOSE_PREFIX, LOCAL_PREFIX)


def write_nginx_conf(folder) -> str:
    """Run the rewrite command of the nginx service; return the resulting configuration."""
    shell, option, script = COMPOSE["services"]["nginx"]["command"]
    rewrite, _, start = script.partition(" && ")
    assert (shell, option, start) == ("sh", "-c", "exec nginx -c /tmp/nginx.conf -g 'daemon off;'")
    for container_path, path in {
        "/etc/playgate/nginx.conf": CONF,
        "/tmp/nginx.conf": folder / "conf",
    }.items():
        assert container_path in rewrite
        rewrite = rewrite.replace(container_path, str(path))
    subprocess.run([shell, option, rewrite], check=True)
    return (folder / "conf").read_text()


async def test_nginx_of_the_compose_file_balances_plays_and_authorizes_guarded_files(
    component, sandbox, tmp_path
):
    text = write_nginx_conf(tmp_path)
    assert "8083" not in text and "/run/playgate" not in text
    text = text.replace(COMPOSE_PREFIX, LOCAL_PREFIX).replace("127.0.0.11", "127.0.0.53")
    first, second = (
        run_test_edge(
            sandbox,
            web={"listen": f"{find_address(name)}:8080"},
            operator={"listen": f"{find_address(name)}:8081"},
            **BEHIND,
        )
        for name in ("edge1", "edge2")
    )
    async with first as one, run_nginx_process(component("nginx"), tmp_path, text) as nginx:
        async with second as two:
            for _ in range(6):
                status, _ = await nginx.request(f"/play/x8demo1.m3u8?token={one.mint()}")
                assert status == 302
            assert one.lines() and two.lines()
        guarded = f"/hls/x8abcd/index.m3u8?token={one.mint('x8abcd')}"
        for _ in range(4):  # with the second edge stopped
            assert (await nginx.request(guarded))[0] == 200
            assert (await nginx.request(f"/play/x8demo1.m3u8?token={one.mint()}"))[0] == 302
        assert (await nginx.request("/hls/x8abcd/index.m3u8"))[0] == 401
