"""Distributions of this checkout, built and installed the way users get them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.programs import ROOT

DISTRIBUTIONS = [ROOT / "protos" / "restmap", ROOT / "protos", ROOT / "gateway", ROOT / "server"]
"""Folders with a pyproject.toml; each is a distribution."""


def build(root: Path, target: str, directory: Path) -> Path:
    """Build the wheel or sdist of a folder with this environment's build tools; return the file."""
    before = set(directory.glob("*"))
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory), cwd=root)
    [built] = set(directory.glob("*")) - before
    return built


def unpacked(sdist: Path, directory: Path) -> Path:
    """Extract an sdist; return its folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    return directory / sdist.name.removesuffix(".tar.gz")


class Installed:
    """Virtual environment that contains only some wheels and their dependencies."""

    def __init__(self, folder: Path, wheels: Sequence[Path]) -> None:
        """Create the environment; pip resolves third-party dependencies in the locked versions."""
        self.bin = folder / "bin"
        run(sys.executable, "-m", "venv", str(folder))
        # Our wheels are passed as files in one command, so pip does not look them up in an index.
        pip = (str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *map(str, wheels))
        listed = run(*pip, "list", "--format=freeze").split()
        self.distributions = {line.partition("==")[0].lower().replace("_", "-") for line in listed}
        [self.packages] = folder.glob("lib/python*/site-packages")

    def run(self, name: str, *arguments: str, **variables: str) -> str:
        """Run a program of the environment; return its output."""
        return run(str(self.bin / name), *arguments, cwd=self.bin.parent, **variables)


def environment(**variables: str) -> dict[str, str]:
    """Return our environment without variables that refer to this checkout or its settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BACKUP_SHARING_", "PYTHON"))}
    return {**ours, **variables}


def run(*words: str, cwd: Path = ROOT, **variables: str) -> str:
    """Run a command; return its stdout. On failure, the assertion message contains the output."""
    done = subprocess.run(
        words, cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout
