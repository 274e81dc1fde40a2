"""The state of a SQLite database."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from backup_sharing.store.examination.facts import Facts
from backup_sharing.store.file_system import cause_of
from backup_sharing.store.sqlite.connection import connect, is_no_database
from backup_sharing.store.sqlite.log import log_path, log_use
from backup_sharing.store.transfer.counters import WRONG_COUNTERS
from backup_sharing.store.unusable import UnusableDatabase

_STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock."""


def examine(path: Path, seconds: float) -> Facts:
    """Return the state of an existing database; look for damage, and compare counters, for at most ``seconds``.

    Raises UnusableDatabase.
    """
    try:
        damage, is_whole = _damage(path, seconds / 2)
        wrong = None if damage else _wrong_counters(path, seconds / 2)
        room = os.statvfs(path.absolute().parent)
        size, log = path.stat().st_size, log_use(log_path(path)).size
    except sqlite3.Error as error:
        raise UnusableDatabase(path, cause_of(path) or str(error)) from error
    except OSError as error:
        raise UnusableDatabase(path, error.strerror or str(error)) from error
    return Facts(damage, is_whole, size, room.f_bavail * room.f_frsize, log, wrong, None)


def _damage(path: Path, seconds: float) -> tuple[str, bool]:
    try:
        found = _found("PRAGMA quick_check(1)", path, seconds)
    except sqlite3.DatabaseError as error:
        if not is_no_database(error):
            raise
        return str(error), True
    return "" if found in {None, "ok"} else str(found), found is not None


def _wrong_counters(path: Path, seconds: float) -> int | None:
    found = _found(WRONG_COUNTERS, path, seconds)
    return None if found is None else int(found)


def _found(statement: str, path: Path, seconds: float) -> str | int | None:
    """Return the one value that a statement finds; None: it needs more than some seconds. Raises sqlite3.Error."""
    until = time.monotonic() + seconds
    with closing(connect(path, busy_timeout=seconds, query_only=True)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            found: tuple[str | int] = connection.execute(statement).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
    return found[0]
