"""A SQLite database as one side of a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from backup_sharing.store.interface import LogBounds
from backup_sharing.store.rows import Row
from backup_sharing.store.sqlite.checkpoint import checkpoint
from backup_sharing.store.sqlite.connection import Unlocked, connect
from backup_sharing.store.sqlite.file import why
from backup_sharing.store.sqlite.log import log_path, log_use
from backup_sharing.store.sqlite.reads import EVENTS
from backup_sharing.store.transfer.side import Batch
from backup_sharing.store.transfer.tables import SHARING_EVENTS, Key, Table
from backup_sharing.store.unusable import UnusableDatabase

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_PATIENCE: Final = 5.0
"""Seconds to wait for locks of other processes."""

_CACHE_KIB: Final = 64 * 1024
"""Size of the page cache, in KiB: new rows are spread over the pages of every index, and a page in memory is less often
written twice."""

_COPY_FROM: Final = 4 * 1024 * 1024
"""Bytes of the write-ahead log in use from which the log is copied."""

# AUTOINCREMENT itself records the largest number here.
_ADVANCE: Final = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'sharing_events'"
_BEGIN_NUMBERS: Final = "INSERT INTO sqlite_sequence (name, seq) VALUES ('sharing_events', ?)"


class SqliteSide:
    """A `backup_sharing.store.transfer.side.Side` on a SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open an existing file with its tables. Raises UnusableDatabase."""
        self._path = path
        self._unlocked = Unlocked(path)
        with self._unusable_on_error():
            self._connection = connect(path, busy_timeout=_PATIENCE)
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._guard = connect(path, busy_timeout=_PATIENCE, query_only=True)

    @property
    def shown(self) -> str:
        return str(self._path)

    def identity(self) -> object:
        """Return the device and the inode of the file, as links may lead to it."""
        found = self._path.stat()
        return "sqlite", found.st_dev, found.st_ino

    def place_events(self) -> None:
        """Do nothing: an event has its position from the beginning."""

    def log(self) -> LogBounds:
        ((store_id, oldest, newest),) = self._rows(EVENTS.bounds)
        return LogBounds(store_id, oldest, newest)

    def continue_log(self, log: LogBounds) -> None:
        with self._transaction():
            self._connection.execute("UPDATE store SET id = ?", (log.store_id,))
            if self._connection.execute(_ADVANCE, (log.newest,)).rowcount == 0:
                self._connection.execute(_BEGIN_NUMBERS, (log.newest,))

    def hold(self) -> None:
        """Begin a read transaction."""
        with self._unusable_on_error():
            self._connection.execute("BEGIN")
            # The first read determines the state.
            self._connection.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchall()

    def release(self) -> None:
        with self._unusable_on_error():
            self._connection.execute("COMMIT")

    def count(self, table: Table) -> int:
        ((count,),) = self._rows(f"SELECT count(*) FROM {table.name}")
        return int(count)

    def page(self, table: Table, after: Key | None, limit: int, *, derived: bool) -> Sequence[Row]:
        key = ", ".join(_columns(table)[: table.key_width])
        behind = f"WHERE ({key}) > ({_marks(table.key_width)})" if after else ""
        columns = table.selected(_columns(table), derived=derived)
        statement = f"SELECT {columns} FROM {table.name} {behind} ORDER BY {key} LIMIT ?"
        return self._rows(statement, (*(after or ()), limit))

    def removed(self, backup_ids: Collection[str]) -> set[str]:
        found: set[str] = set()
        marks = _marks(len(backup_ids))
        statement = f"SELECT backup_id FROM sharing_events WHERE kind = 'backup_removed' AND backup_id IN ({marks})"
        found.update(backup_id for (backup_id,) in self._rows(statement, tuple(backup_ids)))
        return found

    def write(self, table: Table, batch: Batch) -> None:
        """See `Side`; AUTOINCREMENT itself stores the largest number."""
        columns = _columns(table)
        is_key = " AND ".join(f"{name} = ?" for name in columns[: table.key_width])
        insert = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({_marks(len(columns))})"
        update = f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in columns)} WHERE {is_key}"
        with self._transaction():
            self._connection.executemany(f"DELETE FROM {table.name} WHERE {is_key}", batch.remove)
            self._connection.executemany(update, [(*row, *table.key(row)) for row in batch.replace])
            self._connection.executemany(insert, batch.add)

    def close(self) -> None:
        """See `Side`. Raises UnusableDatabase, also if the file was read without locks and changed meanwhile."""
        with self._unusable_on_error():
            self._guard.close()
            self._connection.close()
        self._unlocked.check()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make all changes or none."""
        with self._unusable_on_error():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
                self._shorten_log()
            except BaseException:
                # SQLite itself has rolled back if the disk is full.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _shorten_log(self) -> None:
        """Copy a long log, so that it restarts with the next batch."""
        if log_use(log_path(self._path)).size >= _COPY_FROM:
            checkpoint(self._connection, self._guard, "PASSIVE")

    def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Row]:
        with self._unusable_on_error():
            return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def _unusable_on_error(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnusableDatabase(self._path, why(self._path, error)) from error


def _columns(table: Table) -> Sequence[str]:
    """Return the columns of a table; the position of an event is its number."""
    return ("seq", *table.columns[1:]) if table == SHARING_EVENTS else table.columns


def _marks(count: int) -> str:
    return ", ".join("?" * count)
