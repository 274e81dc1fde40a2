"""An empty engine and a store on it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from tests.store.both import Both
from tests.store.commands import backup, cause
from tests.store.engines import Engine, PooledEngine, PostgresEngine, SqliteEngine

KINDS: Mapping[str, type[PostgresEngine]] = {"postgres": PostgresEngine, "pgbouncer": PooledEngine}


@pytest_asyncio.fixture(params=["sqlite", "postgres", pytest.param("pgbouncer", marks=pytest.mark.outside)])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    engine: Engine = SqliteEngine(tmp_path / "sharings.db")
    if request.param != "sqlite":
        server, kind = request.getfixturevalue("postgres_server"), KINDS[request.param]
        engine = kind(request.getfixturevalue("database_url"), server)
    yield engine
    await engine.close()


@pytest_asyncio.fixture
async def empty_store(engine: Engine) -> Store:
    return await engine.open()


@pytest_asyncio.fixture
async def store(empty_store: Store) -> Store:
    """Return a store with one available backup of the giver."""
    await empty_store.put_backup(PutBackup(backup(), cause()))
    return empty_store


@pytest.fixture
def both(tmp_path: Path, database_url: str) -> Iterator[Both]:
    """Yield one store per engine, for property-based tests."""
    both = Both(tmp_path / "sharings.db", database_url)
    yield both
    both.close()
