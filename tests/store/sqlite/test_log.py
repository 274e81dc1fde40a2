"""The used size of the write-ahead log, read from its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.store.sqlite.log import LogUse, log_path, log_use


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE numbers (n)")
        yield connection


def frames(connection: sqlite3.Connection) -> int:
    """Return the number of frames that SQLite reports for a checkpoint."""
    return int(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])


def test_a_log_that_is_missing_or_empty_is_not_in_use(tmp_path: Path) -> None:
    assert log_use(tmp_path / "missing") == LogUse()
    (tmp_path / "empty").touch()
    assert log_use(tmp_path / "empty").size == 0


def test_the_frames_are_those_of_sqlite_also_after_a_log_reset(path: Path, connection: sqlite3.Connection) -> None:
    seen = set()
    for rows in (1, 100, 7):
        for number in range(rows):
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        use = log_use(log_path(path))
        assert use.frames == frames(connection) > 0
        assert use.size <= log_path(path).stat().st_size
        seen.add(use.generation)
    assert len(seen) == 3


def test_looking_at_the_log_drops_no_lock(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    log_use(log_path(path))
    with closing(sqlite3.connect(path, timeout=0)) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
