"""A PostgreSQL database as one side of a copy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from backup_sharing.store.interface import LogBounds
from backup_sharing.store.postgres.connection import connection_string, message_of, shown
from backup_sharing.store.postgres.faults import is_gone
from backup_sharing.store.postgres.reads import EVENTS
from backup_sharing.store.postgres.rows import text_in, text_out
from backup_sharing.store.postgres.sequencer import LOCK, MOST_PER_ROUND, PLACE, WITHOUT_POSITION
from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.side import Batch
from backup_sharing.store.transfer.tables import BACKUPS, SHARING_EVENTS, Key, Table
from backup_sharing.store.unusable import UnreachableDatabase, UnusableDatabase

# ruff: noqa: S608 -- statements are put together from the constants of this program only

# A page is read by the index of its key, even while the planner has no statistics of a table that is being filled:
# reading and sorting the whole table for each page would take for ever. No timeout applies, as the source is idle while
# the target writes. Not every database that speaks PostgreSQL's protocol has all these settings, so only those in
# pg_settings are changed. The settings end with the transaction: a pooler gives the session to others afterwards.
_SETTINGS: Final = """
    SELECT set_config(name, CASE WHEN name LIKE 'enable%' THEN 'off' ELSE '0' END, true) FROM pg_settings WHERE name IN
    ('enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort',
     'statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
_IDENTITY: Final = """
    SELECT d.oid, d.datname, current_schema(), pg_postmaster_start_time()::text FROM pg_database AS d
    WHERE d.datname = current_database()
"""
_REMOVED: Final = "SELECT backup_id FROM sharing_events WHERE kind = 'backup_removed' AND backup_id = ANY(%s)"
# Never backwards: a position is never assigned twice.
_CONTINUE: Final = "UPDATE event_order SET last = greatest(last, %s)"

_Change = Callable[[Any], Any]


def _unchanged(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    return value


def _optional(change: Callable[[Any], object]) -> _Change:
    return lambda value: None if value is None else change(value)


_CONVERSIONS: Final[Mapping[str, tuple[_Change, _Change]]] = {
    "is_incremental": (_optional(bool), _optional(int)),
    "has_dependent_backups": (_optional(bool), _optional(int)),
    "name_folded": (_optional(str.encode), _optional(bytes.decode)),
}
"""Conversions to and from the stored form, for columns of backups that PostgreSQL stores with another type."""

_ESCAPED: Final = (BACKUPS, SHARING_EVENTS)
"""Tables whose texts the store escapes; the texts of other tables have no characters to escape."""


def _changes(table: Table, which: int, text: _Change) -> Sequence[_Change]:
    plain = text if table in _ESCAPED else _unchanged
    return [_CONVERSIONS[name][which] if name in _CONVERSIONS else plain for name in table.columns]


class PostgresSide:
    """A `backup_sharing.store.transfer.side.Side` on PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Connect to a database with its tables. Raises UnusableDatabase."""
        self._url = url
        with self._unusable_on_error():
            # No prepared statements: behind a pooler, they would stay in sessions of others.
            self._connection = psycopg.connect(connection_string(url), autocommit=True, prepare_threshold=None)

    @property
    def shown(self) -> str:
        return shown(self._url)

    def identity(self) -> object:
        """Return the database and its server process, or the URL if the database does not report them."""
        try:
            return "postgresql", *self._connection.execute(_IDENTITY).fetchall()
        except psycopg.Error:
            return "postgresql", self.shown

    def place_events(self) -> None:
        with self._unusable_on_error():
            if self._connection.execute(WITHOUT_POSITION).fetchall() == [(False,)]:
                return
            placed = MOST_PER_ROUND
            while placed == MOST_PER_ROUND:
                with self._connection.transaction():
                    self._connection.execute(_SETTINGS)
                    self._connection.execute(LOCK)
                    ((placed,),) = self._connection.execute(PLACE).fetchall()

    def log(self) -> LogBounds:
        with self._transaction():
            ((store_id, oldest, newest),) = self._connection.execute(EVENTS.bounds).fetchall()
        return LogBounds(store_id, oldest, newest)

    def continue_log(self, log: LogBounds) -> None:
        with self._transaction():
            self._connection.execute("UPDATE store SET id = %s", (log.store_id,))
            self._connection.execute(_CONTINUE, (log.newest,))

    def hold(self) -> None:
        """Begin a transaction that reads one snapshot."""
        with self._unusable_on_error():
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._connection.execute(_SETTINGS)  # the first statement determines the state

    def release(self) -> None:
        with self._unusable_on_error():
            self._connection.execute("COMMIT")

    def count(self, table: Table) -> int:
        with self._transaction():
            ((count,),) = self._connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()
        return int(count)

    def page(self, table: Table, after: Key | None, limit: int, *, derived: bool) -> Sequence[Row]:
        key = ", ".join(table.key_columns)
        # Without a position: written since `place_events`, and so not part of this copy.
        behind = f"WHERE ({key}) > ({_marks(table.key_width)})" if after else f"WHERE {table.columns[0]} IS NOT NULL"
        columns = table.selected(table.columns, derived=derived)
        statement = f"SELECT {columns} FROM {table.name} {behind} ORDER BY {key} LIMIT %s"
        parameters = (*_stored_key(table, after or ()), limit)
        with self._transaction():
            rows = self._connection.execute(statement, parameters, binary=True).fetchall()
        changes = _changes(table, 1, text_out)
        if all(change is _unchanged for change in changes):
            return rows
        return [tuple([change(value) for change, value in zip(changes, row, strict=True)]) for row in rows]

    def removed(self, backup_ids: Collection[str]) -> set[str]:
        with self._transaction():
            rows = self._connection.execute(_REMOVED, ([text_in(each) for each in backup_ids],)).fetchall()
        return {text_out(backup_id) for (backup_id,) in rows}

    def write(self, table: Table, batch: Batch) -> None:
        is_key = " AND ".join(f"{name} = %s" for name in table.key_columns)
        update = f"UPDATE {table.name} SET {', '.join(f'{name} = %s' for name in table.columns)} WHERE {is_key}"
        delete = f"DELETE FROM {table.name} WHERE {is_key}"
        with self._transaction(), self._connection.cursor() as cursor:
            if batch.remove:
                cursor.executemany(delete, [_stored_key(table, key) for key in batch.remove])
            if batch.replace:
                stored = _stored(table, batch.replace)
                cursor.executemany(update, [(*row, *table.key(row)) for row in stored])
            if batch.add:
                self._add(cursor, table, batch.add)

    def close(self) -> None:
        self._connection.close()

    def _add(self, cursor: psycopg.Cursor[Row], table: Table, rows: Sequence[Row]) -> None:
        with cursor.copy(f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN") as copy:
            for row in _stored(table, rows):
                copy.write_row(row)
        if table == SHARING_EVENTS:
            cursor.execute(_CONTINUE, (rows[-1][0],))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Work in the transaction of `hold`, or else in one of its own."""
        with self._unusable_on_error():
            if self._connection.info.transaction_status is not TransactionStatus.IDLE:
                yield
                return
            with self._connection.transaction():
                self._connection.execute(_SETTINGS)
                yield

    @contextmanager
    def _unusable_on_error(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if is_gone(error):
                raise UnreachableDatabase(self.shown, f"cannot be reached: {message_of(error)}") from error
            raise UnusableDatabase(self.shown, message_of(error)) from error


def _stored(table: Table, rows: Sequence[Row]) -> Sequence[Row]:
    changes = _changes(table, 0, text_in)
    if all(change is _unchanged for change in changes):
        return rows
    return [tuple([change(value) for change, value in zip(changes, row, strict=True)]) for row in rows]


def _stored_key(table: Table, key: Key) -> Key:
    return tuple(map(text_in, key)) if table in _ESCAPED else key


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)
