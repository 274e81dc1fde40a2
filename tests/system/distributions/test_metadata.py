"""Metadata of the distributions: matching versions and complete dependencies."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path
from typing import Any

import pytest

from backupsharing.commands.program import ADDED
from tests.support.programs import ROOT
from tests.system.distributions.build import DISTRIBUTIONS, build, unpacked

pytestmark = pytest.mark.outside

PACKAGES = {
    "restmap": {"restmap", "multiplex"},
    "backupsharing-client": {"backupsharing"},
    "restmap-gateway": {"restmap_gateway", "programkit"},
    "backup-sharing": {"backup_sharing"},
}
OURS = {package: name for name, packages in PACKAGES.items() for package in packages}
BY_NAME = pytest.mark.parametrize("root", DISTRIBUTIONS, ids=lambda root: root.name)


@cache
def project(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def required(root: Path, *extras: str) -> set[str]:
    optional = project(root).get("optional-dependencies", {})
    wanted = [*project(root)["dependencies"], *(one for extra in extras for one in optional.get(extra, ()))]
    return {re.split(r"[\[<>=;]", one)[0].lower() for one in wanted}


def files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_all_have_the_same_version() -> None:
    assert {project(root)["version"] for root in (ROOT, *DISTRIBUTIONS)} == {"0.1.0"}


@BY_NAME
def test_siblings_are_pinned_to_the_same_version(root: Path) -> None:
    siblings = [one for one in project(root)["dependencies"] if re.split(r"[\[<>=;]", one)[0] in PACKAGES]
    assert [one for one in siblings if not one.endswith(f"=={project(root)['version']}")] == []


@BY_NAME
def test_each_has_the_license_and_a_short_readme(root: Path) -> None:
    assert (root / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (root / "README.md").is_file()


def test_the_client_needs_six_distributions() -> None:
    of_grpc = {"grpcio", "grpcio-health-checking", "protobuf", "googleapis-common-protos"}
    assert required(ROOT / "protos") == {*of_grpc, "click", "restmap"}


def test_the_client_has_everything_else_as_extras(tmp_path: Path) -> None:
    extras = project(ROOT / "protos")["optional-dependencies"]
    names = {extra: {re.split(r"[\[<>=;]", one)[0] for one in needed} for extra, needed in extras.items()}
    assert names == {"commands": {"keystoneauth1", "openstacksdk", "wcwidth"}, "status": {"grpcio-status"}}
    assert "backupsharing/service_config.json" in files(build(ROOT / "protos", "wheel", tmp_path))


@pytest.mark.parametrize("target", ["wheel", "sdist"])
@BY_NAME
def test_a_wheel_has_its_packages_and_nothing_else(root: Path, target: str, tmp_path: Path) -> None:
    built, source = build(root, target, tmp_path), root
    if target == "sdist":
        source = unpacked(built, tmp_path)
        built = build(source, "wheel", tmp_path)
    tops = {name.partition("/")[0] for name in files(built)}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES[project(root)["name"]]


@BY_NAME
def test_the_wheel_of_an_sdist_is_that_of_the_checkout(root: Path, tmp_path: Path) -> None:
    for folder in ("from-checkout", "from-sdist"):
        (tmp_path / folder).mkdir()
    direct = files(build(root, "wheel", tmp_path / "from-checkout"))
    source = unpacked(build(root, "sdist", tmp_path), tmp_path)
    assert files(build(source, "wheel", tmp_path / "from-sdist")) == direct


@BY_NAME
def test_a_wheel_holds_the_protos_beside_their_stubs(root: Path, tmp_path: Path) -> None:
    names = set(files(build(root, "wheel", tmp_path)))
    stubs = {name for name in names if name.endswith("_pb2.py")}
    assert {stub.replace("_pb2.py", ".proto") for stub in stubs} <= names
    assert not [name for name in names if name.endswith((".pyc", "pyproject.toml", "hatch_build.py"))]


def imported(root: Path) -> Iterator[str]:
    """Yield the dotted names of all modules that a distribution imports at run time."""
    for package in PACKAGES[project(root)["name"]]:
        folder = root / package if (root / package).is_dir() else root.parent / package
        for path in folder.rglob("*.py"):
            if path.name == "hatch_build.py":
                continue
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module


GOOGLE = {
    "google.protobuf": "protobuf",
    "google.api": "googleapis-common-protos",
    "google.rpc": "googleapis-common-protos",
}
OPENTELEMETRY = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}
"""Packages in the namespace of the API, ``opentelemetry``."""
PART_OF = {"psycopg-pool": "psycopg", "pydantic-core": "pydantic"}
"""Packages that another package installs in the matching release."""

NOT_IMPORTED = {
    "restmap": {"googleapis-common-protos"},  # for options with a code of google.rpc
    "restmap-gateway": {"openapi-ui-bundles"},  # files of a web page
}


@BY_NAME
def test_each_requires_what_it_imports_and_nothing_else(root: Path) -> None:
    name, needed, installed = project(root)["name"], set[str](), packages_distributions()
    for module in imported(root):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top == "google":
            needed.add(GOOGLE[".".join(module.split(".")[:2])])
        elif top == "opentelemetry":
            needed.add(
                next((OPENTELEMETRY[one] for one in OPENTELEMETRY if module.startswith(one)), "opentelemetry-api")
            )
        else:
            found = OURS.get(top) or installed[top][0].lower().replace("_", "-")
            needed.add(PART_OF.get(found, found))
    assert required(root, "commands", "otel") - NOT_IMPORTED.get(name, set()) == needed - {name} - NOT_IMPORTED.get(
        name, set()
    )


def test_the_commands_that_the_service_adds_are_there() -> None:
    added = {point.name: point.load() for point in entry_points(group=ADDED)}
    assert {name: command.name for name, command in added.items()} == {name: name for name in added}
    assert set(added) >= {"backup", "copy", "demo", "import", "migrate", "policy", "token"}
