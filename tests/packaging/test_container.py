"""deploy/Containerfile and compose.yaml: build the real image and run it without root."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import pytest
import yaml
from ports import free_port
from processes import run_command, run_process
from support import ROOT, skip_or_fail

DEPLOY = ROOT / "deploy"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Like a container engine: a read-only file system except /tmp, and a user other than root.
CONFINED = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs tmpfs "$0/tmp" &&
mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" &&
exec chroot --userspec="$1" "$0" "${@:2}"
"""


@dataclass(frozen=True, slots=True)
class Buildah:
    """Runs Buildah with its own, temporary storage."""

    program: str
    folder: Path

    def run(self, *arguments: str | Path) -> str:
        storage = ["--storage-driver", "vfs", "--root", self.folder / "store"]
        command = [self.program, *storage, "--runroot", self.folder / "run", *arguments]
        completed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert completed.returncode == 0, completed.stdout[-2000:] + completed.stderr[-2000:]
        return completed.stdout.strip()

    def make_base(self, mmdebstrap: str) -> str:
        """Build a base image from Debian packages, which replaces the public image; return its name."""
        root = self.folder / "base.tar"
        packages = "--include=python3-venv,ca-certificates"
        subprocess.run(
            [mmdebstrap, "--quiet", "--variant=apt", packages, "bookworm", root], check=True
        )
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, root, "/")
        if Path(CERTIFICATES).exists():  # the build trusts the same CAs as this machine
            self.run("copy", "--quiet", container, CERTIFICATES, CERTIFICATES)
            self.run("config", "--env", f"NODE_EXTRA_CA_CERTS={CERTIFICATES}", container)
        self.run("config", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.run("commit", "--quiet", "--rm", container, "localhost/base:bookworm")
        return "localhost/base:bookworm"


@dataclass(frozen=True, slots=True)
class Image:
    config: dict
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["Env"])

    def command(self, *arguments: str) -> list[str | Path]:
        return ["unshare", "--mount", "bash", "-c", CONFINED, self.root, self.config["User"], *arguments]  # fmt: skip


@pytest.fixture(scope="module")
def image(component) -> Iterator[Image]:
    if os.geteuid() != 0:
        skip_or_fail("building the base image requires root")
    buildah, mmdebstrap = component("buildah"), component("mmdebstrap")
    with TemporaryDirectory(prefix="playgate-") as folder:
        builder = Buildah(buildah, Path(folder))
        base = f"PYTHON_IMAGE={builder.make_base(mmdebstrap)}"
        options = ["--isolation", "chroot", "--format", "docker", "--build-arg", base]
        builder.run("bud", *options, "-f", "deploy/Containerfile", "-t", "localhost/playgate", ".")
        inspected = json.loads(builder.run("inspect", "--type", "image", "localhost/playgate"))
        container = builder.run("from", "localhost/playgate")
        yield Image(inspected["Docker"]["config"], Path(builder.run("mount", container)))
        builder.run("umount", container)


def test_hadolint_reports_no_problem_in_the_containerfile():
    hadolint = Path(sys.executable).parent / "hadolint"
    completed = subprocess.run(
        [hadolint, DEPLOY / "Containerfile"], capture_output=True, text=True, check=False
    )

    assert (completed.returncode, completed.stdout) == (0, "")


def test_the_image_runs_without_root_and_contains_only_necessary_files(image):
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["playgate"]
    assert image.config["Cmd"] == ["serve"]
    assert set(image.config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    assert not (image.root / "src").exists()
    writable = subprocess.run(
        ["find", image.root / "opt", "-not", "-type", "l", "-perm", "/o+w"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert writable == ""
    assert not list((image.root / "opt/playgate/bin").glob("pip*"))


def test_a_container_without_settings_names_the_missing_file(image):
    command = [*image.config["Entrypoint"], *image.config["Cmd"]]
    completed = subprocess.run(
        image.command(*command), env=image.environment, capture_output=True, text=True, check=False
    )

    assert completed.returncode == 1
    assert "/etc/playgate/playgate.toml" in completed.stderr


async def test_a_container_plays_and_its_health_check_detects_whether_it_runs(image):
    assert image.environment["PLAYGATE_OPERATOR__LISTEN"] == "0.0.0.0:8081"
    ports = {"port": free_port(), "operator-port": free_port(), "sandbox-port": free_port()}
    words = image.config["Healthcheck"]["Test"][1:]  # after CMD
    assert ":8081/healthz" in words[-1]
    check = image.command(*(word.replace("8081", str(ports["operator-port"])) for word in words))
    (config,) = (image.root / "opt").glob("playgate/lib/*/site-packages/proxy/config/sandbox.toml")
    demo = ["demo", f"--config=/{config.relative_to(image.root)}"]
    demo += [f"--{name}={port}" for name, port in ports.items()]

    async def run_health_check() -> int:
        code, _ = await run_command(*check, env=image.environment)
        return code

    assert await run_health_check() == 1
    command = image.command(*image.config["Entrypoint"], *demo)
    async with (
        run_process(*command, env=image.environment) as process,
        aiohttp.ClientSession() as session,
    ):
        text = await process.wait_for_output('"serving"')
        url = text[text.index("Paste") :].split()[1]
        async with session.get(url, allow_redirects=False) as response:
            assert response.status == 302
        assert await run_health_check() == 0
        assert await process.stop() == 0


def test_the_compose_file_is_valid_and_its_mounted_files_exist():
    checker = Path(sys.executable).parent / "check-jsonschema"
    compose = DEPLOY / "compose.yaml"
    completed = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", compose],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout
    services = yaml.safe_load(compose.read_text())["services"]
    assert set(services) == {"nginx", "edge1", "edge2", "redis", "prometheus", "grafana"}
    mounted = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if isinstance(volume, str) and volume.startswith("./")
    }
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []
