"""Install the plugins that ``make stubs`` needs into build/tools: ``make plugins``. One function per language."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.system.interop.rows import ROOT, ClientFailed, command
from tests.system.interop.stubs import TOOLS, absent

BIN = TOOLS / "bin"


class Installer(NamedTuple):
    """Installation of a language's plugins."""

    program: str
    """Program that must be on the machine."""
    install: Callable[[], None]
    """Function that installs the plugins; raises `ClientFailed`."""
    releases: str = "tests/system/interop/plugins.py"
    """File that pins the releases; a change of this file triggers a new installation."""


def go() -> None:
    """Install the generators for messages and gRPC, in the releases for examples/go."""
    for module in (
        "google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12",
        "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2",
    ):
        command("go", "install", module, environment={"GOBIN": str(BIN)})


def rust() -> None:
    """Install the generators for messages and clients, for the releases of prost and tonic in examples/rust."""
    where = ("--root", str(TOOLS), "--target-dir", str(TOOLS / "cargo"))
    command("cargo", "install", "--quiet", "--locked", *where, "protoc-gen-prost@0.5.0", "protoc-gen-tonic@0.5.0")


def java() -> None:
    """Install protoc and the gRPC generator, in the releases of examples/java/pom.xml."""
    command("mvn", "--quiet", "--batch-mode", "--file", "examples/java/pom.xml", "dependency:copy@stub-plugins")
    for program in (TOOLS / "java").iterdir():
        program.chmod(0o755)  # Maven stores no permissions


def typescript() -> None:
    """Install all packages of examples/typescript; the generator is one of them."""
    command("npm", "ci", "--no-audit", "--no-fund", cwd=ROOT / "examples" / "typescript")


INSTALLERS: Mapping[str, Installer] = {
    "go": Installer("go", go),
    "java": Installer("mvn", java, "examples/java/pom.xml"),
    "rust": Installer("cargo", rust),
    "typescript": Installer("npm", typescript, "examples/typescript/package-lock.json"),
}
"""Installers by language. A language without an entry uses the system's packages."""


def main() -> int:
    """Install plugins that are missing or of another release, where possible; return the exit code."""
    BIN.mkdir(parents=True, exist_ok=True)
    for language, installer in INSTALLERS.items():
        installed = TOOLS / f"{language}.installed"
        releases = (ROOT / installer.releases).read_text()
        if not absent(language) and installed.exists() and installed.read_text() == releases:
            result = "installed"
        elif shutil.which(installer.program) is None:
            result = f"skipped: {installer.program} not installed"
        else:
            try:
                installer.install()
            except ClientFailed as failure:
                sys.stderr.write(f"{language}: {failure}\n")
                return 1
            installed.write_text(releases)
            result = "installed"
        sys.stdout.write(f"{language}: {result}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
