"""Connections to a SQLite database, and the failures for errors of its driver."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Final

from backup_sharing.errors import StoredDataUnreadable, Unavailable
from backup_sharing.store.file_system import is_read_only
from backup_sharing.store.sqlite.log import log_path, log_use
from backup_sharing.store.unusable import UnusableDatabase

_log = logging.getLogger(__name__)

LOCK_POLL: Final = 0.001
"""Seconds between attempts to lock: SQLite's own pauses grow to 100 ms and starve beside a busy process."""

LOG_KEPT: Final = 32 * 1024 * 1024
"""Bytes of the log file that a restart keeps: overwriting takes half as long as appending."""

_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNAVAILABLE: Final = frozenset(
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
_NO_ACCESS: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_UNREADABLE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connect(path: Path, *, busy_timeout: float, query_only: bool = False) -> sqlite3.Connection:
    """Open the existing database at ``path``; the caller begins and ends transactions.

    A database on a read-only file system can be read: see `is_unlocked`.
    Statements wait up to ``busy_timeout`` seconds for a lock. A commit is on the disk when it returns. SQLite makes no
    checkpoint by itself, except when the last connection to the database is closed: see
    `backup_sharing.store.sqlite.checkpoint`.
    Raises sqlite3.Error.
    """
    access = "mode=ro&immutable=1" if is_unlocked(path) else "mode=rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{access}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,  # one user at a time, but not always the same thread
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


def is_unlocked(path: Path) -> bool:
    """Return whether a database has to be read without locks, as SQLite can create no files beside it.

    That is so on a read-only file system. It is safe if all data is in the file itself, and nobody writes to it. A
    process that has it open keeps a log and its index beside it: then SQLite itself reads those, with locks. Whoever
    reads for long must look afterwards whether anybody wrote by another mount: see `Unlocked`.
    """
    if not is_read_only(path):
        return False
    log = log_path(path)
    index, journal = (path.with_name(f"{path.name}{suffix}") for suffix in ("-shm", "-journal"))
    if (log.exists() and index.exists()) or (journal.exists() and journal.stat().st_size):
        return False
    return log_use(log).frames == 0


class Unlocked:
    """The state of a database that is read without locks."""

    def __init__(self, path: Path) -> None:
        """Remember the state; a database that is read with locks needs none."""
        self._path = path
        self._before = _state(path) if is_unlocked(path) else None

    def check(self) -> None:
        """Raise UnusableDatabase if the database has changed since."""
        if self._before is not None and (_state(self._path) != self._before or not is_unlocked(self._path)):
            raise UnusableDatabase(
                self._path, "it was changed by another mount of its file system while it was read; nothing of it counts"
            )


def _state(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def connect_to_write(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open a connection for writing; once open, it waits for no lock, and leaves the log to the checkpointer.

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


def lock_to_write(connection: sqlite3.Connection, give_up_at: float) -> bool:
    """Begin a transaction with the write lock, or pause for `LOCK_POLL` and return False.

    Raises sqlite3.Error, also if another connection still has the lock after ``give_up_at``, a reading of
    ``time.monotonic()``.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not is_locked(error) or time.monotonic() > give_up_at:
            raise
        time.sleep(LOCK_POLL)
        return False
    return True


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the requested lock."""
    return _primary_code(error) in _LOCKED


def is_failed_sync(error: sqlite3.Error) -> bool:
    """Return whether written data may be missing on the disk, and a later sync may not report that."""
    return getattr(error, "sqlite_errorcode", None) in _FAILED_SYNC


def is_failing(error: sqlite3.Error) -> bool:
    """Return whether the disk failed or is full, as opposed to a file that is no database of this program."""
    return _primary_code(error) in _FAILING


def is_full(error: sqlite3.Error) -> bool:
    """Return whether the disk is full."""
    return _primary_code(error) == sqlite3.SQLITE_FULL


def is_no_access(error: sqlite3.Error) -> bool:
    """Return whether a file cannot be opened or written; the file system knows why."""
    return _primary_code(error) in _NO_ACCESS


def is_no_database(error: sqlite3.Error) -> bool:
    """Return whether the file is no SQLite database, or a damaged one."""
    return _primary_code(error) in _UNREADABLE


def failure_of(error: sqlite3.Error) -> Exception:
    """Return the exception to raise instead of the driver's error, which becomes its cause.

    The exception is a failure for the caller, or a RuntimeError if the error is a defect of this program.
    """
    code = _primary_code(error)
    failure: Exception
    if code in _LOCKED:
        failure = Unavailable("The store is locked; try again later.")
    elif code in _UNAVAILABLE:
        failure = Unavailable("The store cannot be used now.")
    elif code in _UNREADABLE or (code is None and isinstance(error, sqlite3.OperationalError)):
        # Without a code: the driver found text that is not UTF-8, SQLite itself did not fail.
        failure = StoredDataUnreadable("The stored data cannot be read.")
    else:
        failure = RuntimeError("The SQLite store used its database wrongly.")
    failure.__cause__ = error
    return failure


def log_fault(error: sqlite3.Error) -> None:
    """Log an error, as its failure does not contain it; a lock is no fault."""
    if not is_locked(error):
        _log.error("the database failed", exc_info=error)


def _primary_code(error: sqlite3.Error) -> int | None:
    """Return the error's code without its extension; None if SQLite itself did not fail."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
