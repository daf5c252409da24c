"""Lock files: the deployed packages have the tested versions, and hashes."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import ROOT

LOCKS = ("requirements.txt", "requirements-build.txt")


def read_lock(name: str) -> dict[str, str]:
    """Return the packages of a lock file with their versions; check that each has hashes."""
    text = (ROOT / name).read_text()
    assert "://" not in text, "a lock file must not contain an index URL"
    versions = {}
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("#"):
            continue
        entry, *hashes = (part.strip() for part in line.split("--hash="))
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), entry
        requirement = Requirement(entry)
        versions[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return versions


def read_constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pairs}


def find_dependencies(names: set[str]) -> set[str]:
    """Return the packages with all their installed dependencies on this machine."""
    packages: set[str] = set()
    while names:
        name = names.pop()
        packages.add(name)
        try:
            requirements = map(Requirement, requires(name) or [])
        except PackageNotFoundError:  # build requirements are installed in another environment
            continue
        dependencies = {
            canonicalize_name(requirement.name)
            for requirement in requirements
            if _is_for_this_machine(requirement)
        }
        names |= dependencies - packages
    return packages


def _is_for_this_machine(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_has_the_tested_versions(name):
    versions = read_constraints()
    for package, version in read_lock(name).items():
        assert versions.get(package, version) == version, f"{package}: regenerate {name}"


def test_every_dependency_of_an_edge_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    direct = {
        canonicalize_name(Requirement(text).name) for text in project["project"]["dependencies"]
    }
    assert find_dependencies(set(direct)) - read_lock("requirements.txt").keys() == set()
    build = {
        canonicalize_name(Requirement(text).name) for text in project["build-system"]["requires"]
    }
    assert build - read_lock("requirements-build.txt").keys() == set()


def test_the_image_installs_only_locked_packages():
    text = (ROOT / "deploy" / "Containerfile").read_text()
    installs = re.findall(r"pip (?:install|wheel) ([^\\&\n]+)", text)
    assert len(installs) == 4
    for arguments in installs:
        assert "--require-hashes" in arguments or "--no-deps" in arguments
