"""The only module that makes checkpoints: it copies the log into the database, safely beside other processes.

SQLite before 3.51.3 (3.50.7, 3.44.6) can lose commits (https://www.sqlite.org/wal.html#walresetbug): a checkpoint reads
the length of the log, a writer restarts the log, and the checkpoint then takes frames of the new log for frames of the
old one. That needs a log which is already copied, and a checkpoint that neither holds the write lock nor notices. Here
another connection, the guard, reads while a checkpoint runs, and SQLite's own locks prevent the loss:

- If something was left to copy when the guard began to read, the guard reads from the log, and no writer of any process
  may restart the log before the guard is done.
- If nothing was left, the guard reads from the database file alone, and no checkpoint may copy before the guard is
  done.

SQLite's automatic checkpoint after a commit has no guard, so `connect` disables it. SQLite's checkpoint at the close of
the last connection needs no guard: no other connection has the file open.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

_POLL: Final = 0.001
"""Seconds between retries while a reader prevents pages from being copied."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of a checkpoint."""

    finished: bool
    """False if another connection kept the checkpoint from its purpose."""
    frames: int
    """Frames in the log; -1 if another process was checkpointing."""
    done: int
    """Frames that are in the database file."""

    @property
    def everything(self) -> bool:
        """Whether nothing was left to copy."""
        return self.finished and self.frames == self.done


def checkpoint(
    connection: sqlite3.Connection, guard: sqlite3.Connection, mode: Literal["PASSIVE", "RESTART", "TRUNCATE"]
) -> Copied:
    """Make one checkpoint. Both connections must be outside a transaction, and have no other user meanwhile.

    Raises sqlite3.Error.
    """
    with reading(guard):
        busy, frames, done = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return Copied(not busy, frames, done)


def begin_again(
    connection: sqlite3.Connection, guard: sqlite3.Connection, mode: Literal["RESTART", "TRUNCATE"], wait: float
) -> bool:
    """Copy everything, so that the log restarts with the next commit; return whether it will.

    Waits up to ``wait`` seconds in all for blocking readers and writers. The busy timeout of ``connection`` is 0
    afterwards. Raises sqlite3.Error.
    """
    until = time.monotonic() + wait
    # RESTART alone would wait for the guard, which reads from the log as long as something is left to copy.
    while not checkpoint(connection, guard, "PASSIVE").everything:
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL)
    connection.execute(f"PRAGMA busy_timeout = {max(0, round((until - time.monotonic()) * 1000))}")
    try:
        return checkpoint(connection, guard, mode).everything
    finally:
        connection.execute("PRAGMA busy_timeout = 0")


@contextmanager
def reading(guard: sqlite3.Connection) -> Iterator[None]:
    """Hold a read transaction on a connection without a transaction. Raises sqlite3.Error."""
    guard.execute("BEGIN")
    try:
        guard.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # the first query begins the read
        yield
    finally:
        guard.execute("ROLLBACK")
