"""SQLite's log-reset race, played in order: ``python log_reset_process.py DATABASE WAY``.

A checkpoint has read the length of the log and finds all frames copied. The program stops it there, while another
connection restarts the log. Then the checkpoint continues, followed by commits and more checkpoints. The output says
whether all commits are still stored.

WAY: ``guarded``; ``unguarded``; or ``guarded before``: the guard began while frames were left to copy, and another
connection has copied them since.

https://www.sqlite.org/wal.html#walresetbug. The checkpoint stops where SQLite unmaps the database.
"""

from __future__ import annotations

import ctypes
import sqlite3
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.checkpoint import checkpoint, reading
from backup_sharing.store.sqlite.connection import connect

ROWS: Final = 40


def main(path: str, way: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.execute("PRAGMA journal_mode = WAL")
        first.execute("CREATE TABLE commits (number INTEGER PRIMARY KEY, page BLOB)")
        first.executemany("INSERT INTO commits VALUES (?, zeroblob(3000))", ((-number,) for number in range(ROWS)))
    with ExitStack() as opened:
        writing, copying, other, guard = (
            opened.enter_context(closing(connect(Path(path), busy_timeout=0))) for _ in range(4)
        )
        copying.execute("PRAGMA mmap_size = 1000000000")
        made = 0

        def commit(times: int) -> None:
            nonlocal made
            for _ in range(times):
                made += 1
                writing.execute("INSERT INTO commits VALUES (?, zeroblob(3000))", (made,))

        def copy(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

        commit(ROWS)
        copy(copying)
        copying.execute("SELECT sum(length(page)) FROM commits").fetchall()  # maps the database
        commit(1)
        if way == "guarded before":
            with reading(guard):
                copy(other)
                stop = _before_unmap(lambda: commit(2))
                copy(copying)
        else:
            copy(other)
            stop = _before_unmap(lambda: commit(2))
            if way == "guarded":
                checkpoint(copying, guard, "PASSIVE")
            else:
                copy(copying)
        assert made == ROWS + 3, "the checkpoint was not stopped"
        del stop
        commit(2 * ROWS)
        copy(other)
    sys.stdout.write("all are left" if _all_are_left(path, made) else "some are lost")


def _all_are_left(path: str, made: int) -> bool:
    with closing(sqlite3.connect(path)) as last:
        try:
            found = last.execute("SELECT count(*) FROM commits WHERE number > 0").fetchall()
            return found == [(made,)] and last.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
        except sqlite3.DatabaseError:
            return False


def _before_unmap(call: Callable[[], None]) -> object:
    """Call ``call`` once, before a file is unmapped (see ``faulty_disk.c``). Keep the result referenced until then."""
    callback = ctypes.CFUNCTYPE(None)(call)
    pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "before_unmap")
    pointer.value = ctypes.cast(callback, ctypes.c_void_p).value
    return callback


if __name__ == "__main__":
    main(*sys.argv[1:])
