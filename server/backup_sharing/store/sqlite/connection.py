"""Connections to a SQLite database, and what the driver's errors mean to a caller."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Final

from backup_sharing.errors import StoredDataUnreadable, Unavailable

_log = logging.getLogger(__name__)

LOCK_POLL: Final = 0.001
"""Seconds between two tries for a lock: SQLite's own pauses grow to 100 ms and starve beside a busy process."""

LOG_KEPT: Final = 32 * 1024 * 1024
"""Bytes of the log's file that stay when it begins again: to write over them takes half as long as to append."""

_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_OUT_OF_ORDER: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_FAILED_SYNC: Final = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_FAILING: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})
_UNREADABLE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connect(path: Path, *, busy_timeout: float, query_only: bool = False) -> sqlite3.Connection:
    """Open the database at ``path``, which must exist; transactions are the caller's, nothing begins by itself.

    A lock is waited for up to ``busy_timeout`` seconds. A commit is on the disk when it returns. No checkpoint is
    made by itself, except when the last connection to the database is closed: see `sqlite_checkpoint`.
    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,  # each connection has one user at a time, not one thread for ever
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_to_write(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the one connection that writes: once open it waits for no lock, and leaves the log to the checkpointer.

    Raises sqlite3.Error.
    """
    connection = connect(path, busy_timeout=busy_timeout)
    try:
        connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
        connection.execute("PRAGMA busy_timeout = 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def is_locked(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the lock that was asked for."""
    return _primary_code(error) in _LOCKED


def is_failed_sync(error: sqlite3.Error) -> bool:
    """Whether something that was written may not be on the disk, and a later sync may not notice."""
    return getattr(error, "sqlite_errorcode", None) in _FAILED_SYNC


def is_failing(error: sqlite3.Error) -> bool:
    """Whether the disk failed or is full, as opposed to the file being none of ours."""
    return _primary_code(error) in _FAILING


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk is full."""
    return _primary_code(error) == sqlite3.SQLITE_FULL


def is_no_database(error: sqlite3.Error) -> bool:
    """Whether the file is something else than a SQLite database, or a damaged one."""
    return _primary_code(error) in _UNREADABLE


def failure_of(error: sqlite3.Error) -> Exception:
    """Answer what to raise instead of the driver's error, which becomes its cause.

    A failure the caller can be told, or a RuntimeError if the error is a defect of ours.
    """
    code = _primary_code(error)
    failure: Exception
    if code in _LOCKED:
        failure = Unavailable("The store is locked; try again later.")
    elif code in _OUT_OF_ORDER:
        failure = Unavailable("The store cannot be used now.")
    elif code in _UNREADABLE or (code is None and isinstance(error, sqlite3.OperationalError)):
        # Without a code: the driver found text that is not UTF-8, SQLite itself did not fail.
        failure = StoredDataUnreadable("The stored data cannot be read.")
    else:
        failure = RuntimeError("The SQLite store used its database wrongly.")
    failure.__cause__ = error
    return failure


def log_fault(error: sqlite3.Error) -> None:
    """Log an error that the failure made of it does not tell; a lock is no fault."""
    if not is_locked(error):
        _log.error("the database failed", exc_info=error)


def _primary_code(error: sqlite3.Error) -> int | None:
    """The error's code without its extension; None if SQLite itself did not fail."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
