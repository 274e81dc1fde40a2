"""A query whose caller has gone is interrupted, and no other query is."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.readers import Readers

PATIENCE = 60.0
ENDLESS = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT count(*) FROM number"

Query = Callable[[sqlite3.Connection], object]


class Gate:
    """A query that reports its begin, waits for ``go``, and records its end."""

    def __init__(self, statement: str) -> None:
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.failure: sqlite3.Error | None = None
        self._statement = statement

    def __call__(self, connection: sqlite3.Connection) -> object:
        self.begun.set()
        self.go.wait(PATIENCE)
        try:
            return connection.execute(self._statement).fetchall()
        except sqlite3.Error as error:
            self.failure = error
            raise
        finally:
            self.ended.set()


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE)


@pytest_asyncio.fixture
async def readers(tmp_path: Path) -> AsyncIterator[Readers]:
    """Yield readers with one thread."""
    sqlite3.connect(tmp_path / "empty.db").close()
    readers = Readers([connect(tmp_path / "empty.db", busy_timeout=1)])
    yield readers
    await asyncio.to_thread(readers.close)


async def one(readers: Readers) -> object:
    return await readers.read(lambda connection: connection.execute("SELECT 1").fetchall())


async def test_a_query_whose_caller_goes_is_interrupted(readers: Readers, caplog: pytest.LogCaptureFixture) -> None:
    query = Gate(ENDLESS)
    query.go.set()
    reading = asyncio.create_task(readers.read(query))
    await happened(query.begun)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await happened(query.ended)
    assert query.failure is not None
    assert query.failure.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    assert await one(readers) == [(1,)]
    assert not caplog.records


async def test_a_query_is_interrupted_that_begins_its_statement_later(readers: Readers) -> None:
    query = Gate(ENDLESS)
    reading = asyncio.create_task(readers.read(query))
    await happened(query.begun)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    query.go.set()
    await happened(query.ended)
    assert query.failure is not None


async def test_a_query_whose_caller_goes_before_its_turn_never_runs(readers: Readers) -> None:
    first, second = Gate("SELECT 1"), Gate("SELECT 1")
    reading = asyncio.create_task(readers.read(first))
    await happened(first.begun)
    waiting = asyncio.create_task(readers.read(second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.go.set()
    await reading
    assert await one(readers) == [(1,)]
    assert not second.begun.is_set()


async def test_the_next_query_is_never_interrupted_instead(readers: Readers) -> None:
    """Cancel callers at different moments, and start a query that must succeed after each of them."""
    steps = (
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT {}) SELECT max(n) FROM number"
    )

    def asked(rows: int) -> Query:
        return lambda connection: connection.execute(steps.format(rows)).fetchone()

    for number in range(500):
        going = asyncio.create_task(readers.read(asked(1 + number % 50 * 20)))
        staying = asyncio.create_task(readers.read(asked(2000)))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        going.cancel()
        assert await staying == (2000,)
        await asyncio.gather(going, return_exceptions=True)
