"""Meanings of the driver's errors, and settings of connections."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.errors import Failure, StoredDataUnreadable, Unavailable
from backup_sharing.store.sqlite.connection import connect, failure_of, log_fault


def error(code: int | None) -> sqlite3.Error:
    """Return an error with this code, and a text that must not be shown."""
    error = sqlite3.OperationalError("SELECT secret FROM /a/path")
    if code is not None:
        error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY, Unavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable),
        (sqlite3.SQLITE_BUSY_RECOVERY, Unavailable),
        (sqlite3.SQLITE_LOCKED, Unavailable),
        (sqlite3.SQLITE_FULL, Unavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, Unavailable),
        (sqlite3.SQLITE_CANTOPEN, Unavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, Unavailable),
        (sqlite3.SQLITE_CORRUPT, StoredDataUnreadable),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoredDataUnreadable),
        (sqlite3.SQLITE_NOTADB, StoredDataUnreadable),
        (None, StoredDataUnreadable),
        (sqlite3.SQLITE_ERROR, RuntimeError),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, RuntimeError),
    ],
)
def test_an_error_is_known_by_its_code_and_its_text_stays_inside(code: int | None, meaning: type) -> None:
    cause = error(code)
    failure = failure_of(cause)
    assert type(failure) is meaning
    assert failure.__cause__ is cause
    assert "secret" not in str(failure)
    assert isinstance(failure, Failure) or meaning is RuntimeError


def test_a_fault_is_logged_and_a_lock_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        log_fault(error(sqlite3.SQLITE_BUSY))
        assert not caplog.records
        log_fault(error(sqlite3.SQLITE_FULL))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_commit_reaches_the_disk_before_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    with closing(connect(path, busy_timeout=0)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_connection_for_reading_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    with closing(connect(path, busy_timeout=0, query_only=True)) as connection:
        with pytest.raises(sqlite3.OperationalError) as raised:
            connection.execute("CREATE TABLE a (b)")
        assert raised.value.sqlite_errorcode == sqlite3.SQLITE_READONLY


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "a.db", busy_timeout=0)
    assert not list(tmp_path.iterdir())
