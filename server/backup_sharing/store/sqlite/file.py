"""Preparation of a database file: create it, migrate its tables, or refuse it."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backup_sharing.store.file_system import FULL, READ_ONLY, cause_of, is_there
from backup_sharing.store.migrations import MIGRATIONS, Migration, SchemaStatus, status_of
from backup_sharing.store.sqlite.connection import (
    LOCK_POLL,
    connect,
    is_failing,
    is_full,
    is_locked,
    is_no_access,
    is_no_database,
)
from backup_sharing.store.sqlite.log import log_path, log_use
from backup_sharing.store.sqlite.start import settle
from backup_sharing.store.unusable import FailingDatabase, UnusableDatabase

# sqlite_utils takes a tenth of the start, and only a database with pending migrations needs it.
if TYPE_CHECKING:
    from sqlite_utils.migrations import Migrations

MIGRATION_SET: Final = "backup-sharing"
"""Name under which a database records its applied migrations."""

MIGRATIONS_TABLE: Final = "_sqlite_migrations"
"""Table of sqlite_utils with the applied migrations of each set."""

OLDEST_SQLITE: Final = (3, 38, 0)
"""First version with STRICT tables, RETURNING and the JSON operators."""

_WITH_LOG: Final = (
    "and its write-ahead log has changes that the file itself lacks: copy both"
    " files, the database and its -wal file, to another file system"
)

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""Error numbers of a disk that is full or fails, which may be temporary."""


def prepare(path: Path, *, busy_timeout: float, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Create a missing database, readable by its owner only, and the tables if it has none.

    Tables of an older version stay unchanged: see `migrate`. Several processes may call this concurrently; each waits
    up to ``busy_timeout`` seconds for a lock. The write-ahead log that an unclean end left behind is settled first.
    Raises UnusableDatabase; FailingDatabase if the cause may be temporary.
    """
    return _worked_on(path, busy_timeout, lambda: _make_ready(path, known, every=False))


def migrate(path: Path, *, busy_timeout: float, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Do the same as `prepare`, and apply all pending migrations; return the status before.

    Raises UnusableDatabase.
    """
    return _worked_on(path, busy_timeout, lambda: _make_ready(path, known, every=True))


def look(path: Path, *, busy_timeout: float, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Return the migration status of a database; a missing file has no migrations. Changes nothing.

    Raises UnusableDatabase.
    """
    if not is_there(path):
        return status_of((), known)
    return _worked_on(path, busy_timeout, lambda: _look(path, known), create=False)


def statements(known: Sequence[Migration] = MIGRATIONS) -> Mapping[str, Sequence[str]]:
    """Return the statements of each migration, by name, on a database with the migrations before it."""
    from sqlite_utils import Database

    database = Database(sqlite3.connect(":memory:", isolation_level=None), execute_plugins=False)
    executed: dict[str, list[str]] = {}
    for migration in known:
        traced = executed.setdefault(migration.name, [])
        database.conn.set_trace_callback(traced.append)
        migration.sqlite(database)
    return executed


def _worked_on(
    path: Path, busy_timeout: float, action: Callable[[], SchemaStatus], *, create: bool = True
) -> SchemaStatus:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise UnusableDatabase(path, f"SQLite {sqlite3.sqlite_version} is too old, 3.38 or newer is needed")
    try:
        if create:
            _create(path)
        return _retry_while_locked(action, time.monotonic() + busy_timeout)
    except OSError as error:
        cause = cause_of(path) or f"the file cannot be created: {error.strerror}"
        raise (FailingDatabase if error.errno in _PASSING else UnusableDatabase)(path, cause) from error
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def _create(path: Path) -> None:
    # Only create, never open: closing any descriptor of a file that SQLite has open would drop SQLite's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _retry_while_locked(action: Callable[[], SchemaStatus], until: float) -> SchemaStatus:
    # SQLite itself does not wait when two processes switch a new file to the write-ahead log at once.
    while True:
        try:
            return action()
        except sqlite3.Error as error:
            if not is_locked(error) or time.monotonic() > until:
                raise
        time.sleep(LOCK_POLL)


def _make_ready(path: Path, known: Sequence[Migration], *, every: bool) -> SchemaStatus:
    with ExitStack() as opened:
        connection = opened.enter_context(closing(connect(path, busy_timeout=0)))
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            cause = cause_of(path) or f"its file system allows no write-ahead log, only the journal mode '{mode}'"
            raise UnusableDatabase(path, cause)
        try:
            settle(connection, path)
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and not is_failing(error):
                raise
            opened.pop_all()
            if cause_of(path) == READ_ONLY:
                raise UnusableDatabase(path, READ_ONLY) from error
            raise FailingDatabase(path, f"its write-ahead log cannot be settled: {error}", connection) from error
        connection.execute("BEGIN IMMEDIATE")
        status = _status(connection, known)
        if status.unknown:
            raise UnusableDatabase(
                path, f"it was made by a newer version of this program ({', '.join(status.unknown)})"
            )
        if every or status.is_empty:
            _apply(connection, known)
        # Refuse a read-only file now: BEGIN IMMEDIATE alone does not need write access.
        connection.execute("DELETE FROM backups WHERE FALSE")
        connection.execute("COMMIT")
        return status


def _look(path: Path, known: Sequence[Migration]) -> SchemaStatus:
    with closing(connect(path, busy_timeout=0, query_only=True)) as connection:
        return _status(connection, known)


def _status(connection: sqlite3.Connection, known: Sequence[Migration]) -> SchemaStatus:
    has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    if connection.execute(has_table, (MIGRATIONS_TABLE,)).fetchone() is None:
        return status_of((), known)
    applied = f"SELECT name FROM {MIGRATIONS_TABLE} WHERE migration_set = ?"  # noqa: S608 -- a constant
    return status_of((name for (name,) in connection.execute(applied, (MIGRATION_SET,))), known)


def _apply(connection: sqlite3.Connection, known: Sequence[Migration]) -> None:
    from sqlite_utils import Database

    _migrations(known).apply(Database(connection, execute_plugins=False))


def _migrations(known: Sequence[Migration]) -> Migrations:
    from sqlite_utils.migrations import Migrations

    migrations = Migrations(MIGRATION_SET)
    for migration in known:
        migrations(name=migration.name)(migration.sqlite)
    return migrations


def unusable(path: Path, error: sqlite3.Error) -> UnusableDatabase:
    """Return the exception for a database that cannot be used; FailingDatabase if the cause may be temporary."""
    reason = why(path, error)
    is_temporary = reason == FULL or (is_failing(error) and not cause_of(path))
    return (FailingDatabase if is_temporary else UnusableDatabase)(path, reason)


def why(path: Path, error: sqlite3.Error) -> str:
    """Return the reason why a database cannot be used, for its operator."""
    if is_no_database(error):
        return "the file is not a SQLite database, or it is damaged"
    if is_locked(error):
        return "the database is locked by another process"
    if is_full(error):
        return FULL
    cause = cause_of(path) if is_no_access(error) or is_failing(error) else ""
    if cause == READ_ONLY and path.exists() and log_use(log_path(path)).frames:
        return f"{cause}, {_WITH_LOG}"
    return cause or f"the database cannot be used: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
