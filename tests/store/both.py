"""A SQLite store and a PostgreSQL store, for tests that compare both engines."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from backup_sharing.store.interface import Store
from tests.store.commands import NOW
from tests.store.engines import Engine, PostgresEngine, SqliteEngine
from tests.store.opened import open_postgres, open_sqlite

TABLES = ("backups", "sharings", "idempotency_keys", "sharing_events")
KEYS = "SELECT project_id, method, key, fingerprint, answer, expires_at FROM idempotency_keys ORDER BY 1, 2, 3"


class Both:
    """One store per engine; `empty` deletes all rows of both."""

    def __init__(self, path: Path, url: str) -> None:
        self._path, self.url = path, url
        self.now = NOW
        """Time at which sharings end, for both stores."""
        self.runner = asyncio.Runner()
        self.stores: Sequence[Store] = self.runner.run(self._open())
        self.engines: Sequence[Engine] = SqliteEngine(path), PostgresEngine(url, None)

    async def _open(self) -> Sequence[Store]:
        return await open_sqlite(self._path, clock=self._clock), await open_postgres(self.url, clock=self._clock)

    def _clock(self) -> int:
        return self.now

    def empty(self) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- constants
            connection.commit()
        PostgresEngine(self.url, None)._rows(f"TRUNCATE {', '.join(TABLES)}")

    def keys(self) -> list[list[tuple[object, ...]]]:
        with closing(sqlite3.connect(self._path)) as connection:
            return [connection.execute(KEYS).fetchall(), PostgresEngine(self.url, None)._rows(KEYS)]

    def close(self) -> None:
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
