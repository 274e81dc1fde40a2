"""Temporary folder of a server; a guard process removes folder and server, however the tests end."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.postgres.user import User

PATIENCE = 60.0
"""Seconds to wait for something that must happen; long enough for a busy machine."""

MEMORY = Path("/dev/shm")  # noqa: S108 -- mkdtemp makes the names
ENOUGH = 2 << 30
"""Minimum free bytes in memory. Containers often have 64 MB there, which is too little for one server."""

GUARD = """
read -r _
for lock in "$1"/*/postmaster.pid; do
    if [ -f "$lock" ]; then "$2/pg_ctl" stop --silent --mode=immediate --pgdata="${lock%/*}"; fi
done
rm -rf "$1"
"""
"""Waits until stdin closes, which also happens when the parent process dies."""


def open_folder(user: User, *, on_disk: bool) -> Path:
    """Create an empty folder that the user owns and can access; pytest's folders are not accessible to other users.

    :param on_disk: whether to avoid memory, where a server starts and creates databases ten times as fast.
    """
    for parent in _parents(on_disk=on_disk):
        if user.reaches(parent):
            folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
            user.own(folder)
            return folder
    raise AssertionError("no temporary folder is accessible to other users; set TMPDIR to such a folder")


def _parents(*, on_disk: bool) -> Iterator[Path]:
    if not on_disk and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH:
        yield MEMORY
    yield Path(tempfile.gettempdir())
    yield Path("/tmp")  # noqa: S108 -- mkdtemp makes the names


class Guard:
    """Process that outlives the tests briefly: it stops the server in a folder and removes the folder.

    The kernel's PR_SET_PDEATHSIG is no alternative: a server started from a thread would end with that thread,
    and its folder would remain.
    """

    def __init__(self, folder: Path, programs: Path, user: User) -> None:
        self._folder = folder
        self._process = user.start(["sh", "-c", GUARD, "guard", str(folder), str(programs)], cwd=Path("/"))

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Remove the folder; return once it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # The folder's owner can empty the folder, but may lack permission to remove it from its parent.
        shutil.rmtree(self._folder, ignore_errors=True)
        assert not self._folder.exists(), f"{self._folder} could not be removed"
