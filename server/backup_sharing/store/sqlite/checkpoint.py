"""The only place that checkpoints: it copies the write-ahead log into the database, beside any other process.

SQLite before 3.51.3 (3.50.7, 3.44.6) can lose commits (https://www.sqlite.org/wal.html#walresetbug): a checkpoint
reads how long the log is, a writer begins the log again, and the checkpoint then takes the frames of the new log for
those of the old one. That needs a log which is copied already, and a checkpoint that neither holds the write lock nor
notices. Here another connection, the guard, reads while a checkpoint runs, and SQLite's own locks do the rest:

- Something was left to copy when the guard began to read: the guard reads from the log, and no writer of any process
  may begin the log again before the guard is done.
- Nothing was left: the guard reads from the database file alone, and no checkpoint may copy before it is done.

A checkpoint that SQLite makes by itself after a commit has no guard, so `connect` switches those off. The one that
SQLite makes when the last connection is closed needs none: nobody else has the file open.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

_POLL: Final = 0.001
"""Seconds between two tries while a reader holds back what is to be copied."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a checkpoint came to."""

    finished: bool
    """False if another connection kept it from doing what it was for."""
    frames: int
    """In the log; -1 if another process was at a checkpoint."""
    done: int
    """Frames that are in the database file."""

    @property
    def everything(self) -> bool:
        """Whether nothing was left to copy."""
        return self.finished and self.frames == self.done


def checkpoint(
    connection: sqlite3.Connection, guard: sqlite3.Connection, mode: Literal["PASSIVE", "RESTART", "TRUNCATE"]
) -> Copied:
    """Make one checkpoint. Both connections must be outside a transaction, and nobody else may use them meanwhile.

    Raises sqlite3.Error.
    """
    with reading(guard):
        busy, frames, done = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return Copied(not busy, frames, done)


def begin_again(
    connection: sqlite3.Connection, guard: sqlite3.Connection, mode: Literal["RESTART", "TRUNCATE"], wait: float
) -> bool:
    """Copy everything, so that the log begins again with the next commit; whether it does.

    Readers and writers that are in the way are waited for up to ``wait`` seconds in all. The busy timeout of
    ``connection`` is 0 afterwards. Raises sqlite3.Error.
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
    """Hold a read transaction on a connection that has none. Raises sqlite3.Error."""
    guard.execute("BEGIN")
    try:
        guard.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # a transaction reads from its first query on
        yield
    finally:
        guard.execute("ROLLBACK")
