"""What is deployed is what was tested: the same versions, and files that are known by hash."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import ROOT

LOCKS = ("requirements.txt", "requirements-build.txt")


def locked(name: str) -> dict[str, str]:
    """Return the packages of a lock with their versions; each of them has hashes."""
    text = (ROOT / name).read_text()
    assert "://" not in text, "a lock names no index"
    versions = {}
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("#"):
            continue
        entry, *hashes = (part.strip() for part in line.split("--hash="))
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", it) for it in hashes), entry
        requirement = Requirement(entry)
        versions[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return versions


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pairs}


def needed(names: set[str]) -> set[str]:
    """Return packages with all that they need here, as installed."""
    found: set[str] = set()
    while names:
        name = names.pop()
        found.add(name)
        try:
            wanted = map(Requirement, requires(name) or [])
        except PackageNotFoundError:  # of the build, which has an environment of its own
            continue
        here = {canonicalize_name(it.name) for it in wanted if _is_for_this_machine(it)}
        names |= here - found
    return found


def _is_for_this_machine(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_the_tested_versions(name):
    versions = pinned()
    for package, version in locked(name).items():
        assert versions.get(package, version) == version, f"{package}: write {name} anew"


def test_every_dependency_of_an_edge_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = {canonicalize_name(Requirement(it).name) for it in project["project"]["dependencies"]}
    assert needed(set(direct)) - locked("requirements.txt").keys() == set()
    build = {canonicalize_name(Requirement(it).name) for it in project["build-system"]["requires"]}
    assert build - locked("requirements-build.txt").keys() == set()


def test_the_image_installs_only_locked_packages():
    text = (ROOT / "deploy" / "Containerfile").read_text()
    installs = re.findall(r"pip (?:install|wheel) ([^\\&\n]+)", text)
    assert len(installs) == 4
    for arguments in installs:
        assert "--require-hashes" in arguments or "--no-deps" in arguments
