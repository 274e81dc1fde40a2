"""A folder for a server, which goes with us however we end, together with the server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.postgres.user import User

PATIENCE = 60.0
"""Seconds to wait for something that must happen; a busy machine is no defect."""

MEMORY = Path("/dev/shm")  # noqa: S108 -- mkdtemp makes the names
ENOUGH = 2 << 30
"""Bytes that have to be free in memory; a container often has 64 MB there, which is less than one server takes."""

GUARD = """
read -r _
for lock in "$1"/*/postmaster.pid; do
    if [ -f "$lock" ]; then "$2/pg_ctl" stop --silent --mode=immediate --pgdata="${lock%/*}"; fi
done
rm -rf "$1"
"""
"""Waits until its standard input closes, as it does when the process that has the other end is no more."""


def open_folder(user: User, *, on_disk: bool) -> Path:
    """Make an empty folder that belongs to the user, who can get there, as is not so with pytest's folders.

    :param on_disk: not in memory, where a server starts and makes databases ten times as fast.
    """
    for parent in _parents(on_disk=on_disk):
        if user.reaches(parent):
            folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
            user.own(folder)
            return folder
    raise AssertionError("no folder for temporary files can be reached by others; set TMPDIR to one that can")


def _parents(*, on_disk: bool) -> Iterator[Path]:
    if not on_disk and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH:
        yield MEMORY
    yield Path(tempfile.gettempdir())
    yield Path("/tmp")  # noqa: S108 -- mkdtemp makes the names


class Guard:
    """A process that outlives us by a moment, ends what runs in a folder, and removes it.

    The kernel's PR_SET_PDEATHSIG would not do: a server started from a thread would end with that thread,
    and its folder would stay.
    """

    def __init__(self, folder: Path, programs: Path, user: User) -> None:
        self._folder = folder
        self._process = user.start(["sh", "-c", GUARD, "guard", str(folder), str(programs)], cwd=Path("/"))

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Have the folder removed; it is when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Whom the folder belongs to may empty it, but not always take it out of the one that it is in.
        shutil.rmtree(self._folder, ignore_errors=True)
        assert not self._folder.exists(), f"{self._folder} could not be removed"
