"""Commands with file systems of their own: read-only, small, or both; nobody else sees the mounts."""

from __future__ import annotations

import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.programs import PATIENCE, environment

_ALONE = ("unshare", "--mount", "--map-root-user", "sh", "-ec")

COMMAND = f"{shlex.quote(sys.executable)} -m backup_sharing.admin.cli"
"""The command ``backup-sharing``, in a shell."""

SERVER = f"{shlex.quote(sys.executable)} -m backup_sharing"
"""The command ``backup-sharing-server``, in a shell."""


def read_only(folder: Path) -> str:
    """Return the shell command that makes a folder read-only."""
    name = shlex.quote(str(folder))
    return f"mount --bind {name} {name}; mount -o remount,bind,ro {name}"


def small(folder: Path, kib: int) -> str:
    """Return the shell command that makes a folder an empty file system of some KiB."""
    return f"mount -t tmpfs -o size={kib}k none {shlex.quote(str(folder))}"


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts end with it; skip the test if this machine allows no mounts."""
    if not _can_mount():
        pytest.skip("this machine does not let the tests mount file systems (unshare --mount)")
    return subprocess.run(
        [*_ALONE, "\n".join(lines)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )


@cache
def _can_mount() -> bool:
    try:
        return subprocess.run([*_ALONE, "mount -t tmpfs none /mnt"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
