"""The engines of the contract suite, with access to the stored data that bypasses the store."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_sharing.model import Sharing
from backup_sharing.store.interface import Store
from tests.store.commands import NOW
from tests.store.opened import open_postgres, open_sqlite
from tests.support.postgres.pgbouncer import PgBouncer
from tests.support.postgres.server import PostgresServer

_WRONG_COUNTERS = """
    SELECT id, active_sharings, coalesce(number, 0) FROM backups LEFT JOIN
    (SELECT backup_id, count(*) AS number FROM sharings WHERE deleted_at IS NULL GROUP BY backup_id) AS counted
    ON backup_id = id WHERE active_sharings <> coalesce(number, 0)
"""


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    at: int
    backup_id: str
    from_project_id: str
    sharing_id: str | None
    to_project_id: str | None
    by_project_id: str
    by_user_id: str
    request_id: str


class Engine(ABC):
    def __init__(self) -> None:
        self._opened: list[Store] = []
        self.now = NOW
        """Time at which sharings end, for all stores."""

    def clock(self) -> int:
        return self.now

    async def open(self, *, max_waiting: int = 10_000, busy_timeout: float = 5.0) -> Store:
        """Open one more store on the same data; `close` closes it."""
        store = await self._open(max_waiting, busy_timeout)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()

    def events(self) -> list[Event]:
        """Return all events, oldest first."""
        columns = ", ".join(Event.__slots__)
        return [Event(*row) for row in self._rows(f"SELECT {columns} FROM sharing_events ORDER BY seq")]  # noqa: S608 -- constants

    def history(self) -> list[Sharing]:
        """Return all sharings by id, including cancelled ones."""
        columns = ", ".join(Sharing._fields)
        return [Sharing(*row) for row in self._rows(f"SELECT {columns} FROM sharings ORDER BY id")]  # noqa: S608 -- constants

    def wrong_counters(self) -> list[tuple[str, int, int]]:
        """Return the backups whose counter is wrong: id, counter, and number of sharings without a recorded end."""
        return [tuple(row) for row in self._rows(_WRONG_COUNTERS)]

    @property
    def is_sqlite(self) -> bool:
        return isinstance(self, SqliteEngine)

    @abstractmethod
    def write(self, statement: str) -> None:
        """Change the stored data."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[object]:
        """Block every writer."""

    @abstractmethod
    def spoil(self) -> None:
        """Damage the stored backups. No store may be open."""

    @abstractmethod
    async def _open(self, max_waiting: int, busy_timeout: float) -> Store: ...

    @abstractmethod
    def _rows(self, statement: str) -> Sequence[tuple[Any, ...]]: ...


class SqliteEngine(Engine):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    async def _open(self, max_waiting: int, busy_timeout: float) -> Store:
        return await open_sqlite(self.path, max_waiting=max_waiting, busy_timeout=busy_timeout, clock=self.clock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def spoil(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'backups'").fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        with self.path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)

    def write(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(statement)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement).fetchall()


class PostgresEngine(Engine):
    def __init__(self, url: str, server: PostgresServer | None) -> None:
        """Pass ``server`` only if the tests may stop it."""
        super().__init__()
        self.url = url
        self.server = server

    async def _open(self, max_waiting: int, busy_timeout: float) -> Store:
        return await open_postgres(self.url_of_stores, max_waiting=max_waiting, patience=busy_timeout, clock=self.clock)

    @property
    def url_of_stores(self) -> str:
        return self.url

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE backups, sharings IN EXCLUSIVE MODE")
            yield
            connection.rollback()

    def spoil(self) -> None:
        if self.server is None:
            pytest.skip("the tests may not damage this server")
        ((place, size),) = self._rows("SELECT pg_relation_filepath('backups'), pg_relation_size('backups')")
        ((folder,),) = self._rows("SHOW data_directory")
        self._rows("CHECKPOINT")
        self.server.stop()
        (Path(folder) / place).write_bytes(b"\xff" * size)
        self.server.start()

    def write(self, statement: str) -> None:
        self._rows(statement)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


class PooledEngine(PostgresEngine):
    """PostgreSQL behind PgBouncer in transaction mode; the tests look at the data directly."""

    def __init__(self, url: str, server: PostgresServer | None) -> None:
        super().__init__(url, server)
        self.pooler = PgBouncer(url)

    @property
    def url_of_stores(self) -> str:
        return self.pooler.url

    async def close(self) -> None:
        await super().close()
        self.pooler.close()
