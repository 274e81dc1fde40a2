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
from backup_sharing.store.unusable import UnusableDatabase

_STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock."""


def examine(path: Path, seconds: float) -> Facts:
    """Return the state of an existing database; look for damage for at most ``seconds``.

    Raises UnusableDatabase.
    """
    try:
        damage, is_whole = _damage(path, seconds)
        room = os.statvfs(path.absolute().parent)
        size, log = path.stat().st_size, log_use(log_path(path)).size
    except sqlite3.Error as error:
        raise UnusableDatabase(path, cause_of(path) or str(error)) from error
    except OSError as error:
        raise UnusableDatabase(path, error.strerror or str(error)) from error
    return Facts(damage, is_whole, size, room.f_bavail * room.f_frsize, log, None)


def _damage(path: Path, seconds: float) -> tuple[str, bool]:
    until = time.monotonic() + seconds
    with closing(connect(path, busy_timeout=seconds, query_only=True)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return "", False
            raise
        except sqlite3.DatabaseError as error:
            if not is_no_database(error):
                raise
            return str(error), True
    return ("" if found == "ok" else str(found)), True
