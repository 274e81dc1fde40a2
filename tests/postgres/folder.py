"""A folder of the temporary ones that goes with us, together with every server that runs in it, however we end."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.postgres.binaries import User

PATIENCE = 60.0
"""Seconds to wait for something that must happen; a busy machine is no defect."""

GUARD = """
cat
for lock in "$1"/*/postmaster.pid; do
    if [ -f "$lock" ]; then "$2/pg_ctl" stop --silent --mode=immediate --pgdata="${lock%/*}"; fi
done
rm -rf "$1"
"""
"""Waits until its standard input closes, as it does when the process that has the other end is no more."""


def open_folder(user: User) -> Path:
    """Make an empty folder that belongs to the user, who can get there, as is not so with pytest's folders."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 -- mkdtemp makes the names
        if user.reaches(Path(parent)):
            folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
            user.own(folder)
            return folder
    raise AssertionError("no folder for temporary files can be used by others; set TMPDIR to one that can")


class Guard:
    """A process that outlives us by a moment.

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
        """Have the servers ended and the folder removed; nothing is left when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert not self._folder.exists(), f"{self._folder} could not be removed"
