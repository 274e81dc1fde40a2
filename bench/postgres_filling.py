"""Databases of PostgreSQL with any number of sharings: the same rows as in SQLite's, copied from there."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from backup_sharing.store.postgres import schema as postgres_schema
from bench.databases import PACKED, fingerprint
from bench.postgres_server import PostgresServer
from bench.progress import tell
from bench.sqlite_database import SqliteDatabase
from bench.sqlite_filling import kept_file

MB_A_MILLION = 1050
SECONDS_A_MILLION = 45
"""Rounded up, for the estimate that is printed before a large one is built."""

_Connection = psycopg.Connection[tuple[Any, ...]]

_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'sharings' AND indexname <> 'sharings_pkey'"


def kept_database(server: PostgresServer, rows: int) -> str:
    """The name of the database that is kept with this many sharings, made if it is not there yet."""
    kept = f"{kept_file(rows).stem}-{fingerprint(__file__)}"
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", kept):
        _make(server, kept, rows)
    return kept


def create(server: PostgresServer, name: str, template: str = "template0") -> None:
    """Make a database, empty or as a copy."""
    _execute(server, "CREATE DATABASE {} TEMPLATE {}", name, template)


def drop(server: PostgresServer, name: str) -> None:
    """Drop a database, whoever uses it."""
    _execute(server, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(server: PostgresServer, statement: LiteralString, *names: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SQL(statement).format(*map(Identifier, names)))


def _make(server: PostgresServer, name: str, rows: int) -> None:
    """Make a database, which has its name only when it is complete."""
    source = kept_file(rows)
    SqliteDatabase(source, rows).take_away_added()
    began = time.monotonic()
    for (old,) in server.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", f"rows-{rows}-%"):
        drop(server, old)
    unfinished = f"{name}-unfinished"
    create(server, unfinished)
    postgres_schema.migrate(server.url(unfinished))
    with (
        closing(sqlite3.connect(source)) as rows_of,
        psycopg.connect(server.url(unfinished), autocommit=True) as connection,
    ):
        _fill(connection, rows_of, rows)
        ((size,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
    _execute(server, "ALTER DATABASE {} RENAME TO {}", unfinished, name)
    seconds = time.monotonic() - began
    tell(f"made a database of {rows:,} sharings in PostgreSQL: {size / 1e6:,.0f} MB, {seconds:.0f} s")


def _fill(connection: _Connection, source: sqlite3.Connection, rows: int) -> None:
    connection.execute("SET synchronous_commit = off")  # the checkpoint behind waits for the disk
    connection.execute("SET maintenance_work_mem = '1GB'")
    _copy(connection, source, "backups", "rowid", 0, rows)
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(SQL("DROP INDEX {}").format(Identifier(name)))
    packed = int(rows * PACKED)
    _copy(connection, source, "sharings", "id", 0, packed)
    for _, statement in indexes:
        connection.execute(statement.encode())
    tell(f"{packed:,} of {rows:,} sharings are in")
    _copy(connection, source, "sharings", "id", packed, rows)
    # A history begins with giving positions to the events that have none.
    _copy(connection, source, "sharing_events", "seq", 0, rows, "*, seq AS position")
    connection.execute("UPDATE event_order SET last = %s", (rows,))
    connection.execute("SELECT setval(pg_get_serial_sequence('sharing_events', 'seq'), %s)", (rows,))
    connection.execute("VACUUM (FREEZE, ANALYZE)")
    connection.execute("CHECKPOINT")


def _copy(
    connection: _Connection,
    source: sqlite3.Connection,
    table: str,
    order: str,
    first: int,
    last: int,
    selected: str = "*",
) -> None:
    """Copy the rows from ``first`` to before ``last``; columns have the same names in both engines."""
    wanted = f"SELECT {selected} FROM {table} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 - our own tables
    rows = source.execute(wanted, (last - first, first))
    columns = SQL(", ").join(Identifier(column[0]) for column in rows.description)
    with connection.cursor().copy(SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), columns)) as copy:
        for row in rows:
            copy.write_row(row)
