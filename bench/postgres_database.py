"""Databases of PostgreSQL, as measurements use them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from backup_sharing.store.transfer.counters import RECOUNT
from bench.databases import COPIED_UP_TO, LAST_AT, keep_in_memory
from bench.job import LISTED, OWNER
from bench.postgres_filling import create, drop, kept_database
from bench.postgres_server import PostgresServer

_Connection = psycopg.Connection[tuple[Any, ...]]

_MISSING = """
    SELECT count(*), count(*) FILTER (WHERE s.id IS NULL) FROM (SELECT DISTINCT id FROM acknowledged) AS acknowledged
    LEFT JOIN sharings AS s ON s.id = acknowledged.id AND s.deleted_at IS NULL
"""
# Also of the indexes, which VACUUM by itself leaves as they are where few rows went.
_CLEAN = "VACUUM (ANALYZE, INDEX_CLEANUP ON) sharings, sharing_events"


@contextmanager
def postgres_database(server: PostgresServer, rows: int) -> Iterator[PostgresDatabase]:
    """A database with this many sharings: a copy of its own, or a large one itself."""
    kept = kept_database(server, rows)
    if rows > COPIED_UP_TO:
        database = PostgresDatabase(server, kept, rows)
        database.take_away_added()
        for file in server.files(kept):
            keep_in_memory(file)
        yield database
        return
    copy = f"run-{server.pid}-{uuid.uuid4().hex[:12]}"
    _drop_what_was_left(server)
    create(server, copy, template=kept)
    try:
        yield PostgresDatabase(server, copy, rows)
    finally:
        drop(server, copy)


def _drop_what_was_left(server: PostgresServer) -> None:
    """By a run that was killed: its copies have the name of the server that was running then."""
    others = "SELECT datname FROM pg_database WHERE datname LIKE 'run-%%' AND datname NOT LIKE %s"
    for (copy,) in server.execute(others, f"run-{server.pid}-%"):
        drop(server, copy)


class PostgresDatabase:
    """A `bench.databases.Database` on a server."""

    engine = "PostgreSQL"

    def __init__(self, server: PostgresServer, name: str, rows: int) -> None:
        self.name = server.url(name)
        self.pid = server.pid
        self.rows = rows

    def take_away_added(self) -> None:
        """Do what `Database.take_away_added` promises."""
        with self._connect() as connection:
            added = connection.execute(
                "DELETE FROM sharings WHERE from_project_id = %s AND created_at > %s", (OWNER, LAST_AT)
            )
            if not added.rowcount:
                return
            connection.execute("DELETE FROM sharing_events WHERE seq > %s", (self.rows,))
            connection.execute(RECOUNT)
            connection.execute(_CLEAN)

    def missing(self, acknowledged: Path) -> tuple[int, int]:
        """Do what `Database.missing` promises."""
        with self._connect() as connection:
            connection.execute("CREATE TEMPORARY TABLE acknowledged (id TEXT)")
            with connection.cursor().copy("COPY acknowledged FROM STDIN") as copy:
                copy.write(acknowledged.read_bytes())
            ((total, lost),) = connection.execute(_MISSING).fetchall()
            return total, lost

    def listed_ids(self, count: int) -> list[str]:
        """Do what `Database.listed_ids` promises."""
        with self._connect() as connection:
            wanted = "SELECT id FROM sharings WHERE from_project_id = %s LIMIT %s"
            return [row[0] for row in connection.execute(wanted, (LISTED, count))]

    def _connect(self) -> _Connection:
        return psycopg.connect(self.name, autocommit=True)
