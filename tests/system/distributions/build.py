"""The distributions of this checkout, built and installed as others get them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.programs import ROOT

DISTRIBUTIONS = [ROOT / "protos" / "restmap", ROOT / "protos", ROOT / "gateway", ROOT / "server"]
"""The folders that have a pyproject.toml, and are a distribution each."""


def build(root: Path, target: str, directory: Path) -> Path:
    """Build the wheel or the sdist of a folder, with what this environment has to build; answers the file."""
    before = set(directory.glob("*"))
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory), cwd=root)
    [built] = set(directory.glob("*")) - before
    return built


def unpacked(sdist: Path, directory: Path) -> Path:
    """The folder that an sdist becomes."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    return directory / sdist.name.removesuffix(".tar.gz")


class Installed:
    """An environment with nothing in it but some wheels and what they need."""

    def __init__(self, folder: Path, wheels: Sequence[Path]) -> None:
        """Make it; what the wheels need beyond each other comes from where pip gets it, in the versions we lock."""
        self.bin = folder / "bin"
        run(sys.executable, "-m", "venv", str(folder))
        # Wheels of ours are named as files, all in one command: no index is asked for them.
        pip = (str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *map(str, wheels))
        listed = run(*pip, "list", "--format=freeze").split()
        self.distributions = {line.partition("==")[0].lower().replace("_", "-") for line in listed}
        [self.packages] = folder.glob("lib/python*/site-packages")

    def run(self, name: str, *arguments: str, **variables: str) -> str:
        """Run a program of the environment; answers what it prints."""
        return run(str(self.bin / name), *arguments, cwd=self.bin.parent, **variables)


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what leads to this checkout or to its settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BACKUP_SHARING_", "PYTHON"))}
    return {**ours, **variables}


def run(*words: str, cwd: Path = ROOT, **variables: str) -> str:
    """Run a command; answers its standard output. What it complains of is in the failure if it fails."""
    done = subprocess.run(
        words, cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout
