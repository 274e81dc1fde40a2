"""Making a database file ready: create it, bring its tables up to date, or refuse it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from server.store.sqlite_connection import LOCK_POLL, connect, is_locked, is_no_database
from server.store.sqlite_schema import migrations, unknown_migrations
from server.store.unusable import UnusableDatabase

OLDEST_SQLITE: Final = (3, 38, 0)
"""The first with STRICT tables, RETURNING and the JSON operators."""


def prepare(path: Path, *, busy_timeout: float) -> None:
    """Create the database if there is none, readable by its owner only, and apply what migrations it lacks.

    Several processes may do so at once: a lock is waited for up to ``busy_timeout`` seconds.
    Raises UnusableDatabase.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise UnusableDatabase(path, f"SQLite {sqlite3.sqlite_version} is too old, 3.38 or newer is needed")
    try:
        _create(path)
        _retry_while_locked(lambda: _make_ready(path), time.monotonic() + busy_timeout)
    except OSError as error:
        raise UnusableDatabase(path, f"the file cannot be created: {error.strerror}") from error
    except sqlite3.Error as error:
        raise UnusableDatabase(path, _why(error)) from error


def _create(path: Path) -> None:
    # Exclusively: closing any descriptor of a file that SQLite has open would drop SQLite's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _retry_while_locked(action: Callable[[], None], until: float) -> None:
    # SQLite does not wait by itself when two processes switch a new file to the write-ahead log at once.
    while True:
        try:
            return action()
        except sqlite3.Error as error:
            if not is_locked(error) or time.monotonic() > until:
                raise
        time.sleep(LOCK_POLL)


def _make_ready(path: Path) -> None:
    with closing(connect(path, busy_timeout=0)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise UnusableDatabase(path, f"its file system allows no write-ahead log, only the journal mode '{mode}'")
        connection.execute("BEGIN IMMEDIATE")
        database = Database(connection, execute_plugins=False)
        if newer := unknown_migrations(database):
            raise UnusableDatabase(path, f"it was made by a newer version of this program ({', '.join(newer)})")
        migrations().apply(database)
        # A file that cannot be written is refused now: BEGIN IMMEDIATE alone is content with reading it.
        connection.execute("DELETE FROM backups WHERE FALSE")
        connection.execute("COMMIT")


def _why(error: sqlite3.Error) -> str:
    if is_no_database(error):
        return "the file is not a SQLite database, or it is damaged"
    if is_locked(error):
        return "the database is locked by another process"
    return f"the database cannot be used: {error}"
