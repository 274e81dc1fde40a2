"""The database itself fails a transaction that exceeds its time limit, on both write paths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from backup_sharing.rules.decisions import decide_all, needs_of
from backup_sharing.store.postgres.changes import Known, write
from backup_sharing.store.postgres.connection import Connection, connect_to_write, connection_string
from backup_sharing.store.postgres.shares import Assumed
from tests.store.commands import share
from tests.store.engines import PostgresEngine
from tests.store.faults import opened

pytestmark = pytest.mark.resilience

Change = Callable[[Connection, float], Awaitable[None]]

TAKES = 0.05
"""Seconds that the database needs to store each sharing."""

SLOW = f"""
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep({TAKES}); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON sharings FOR EACH ROW EXECUTE FUNCTION slow();
"""


async def in_one_round_trip(connection: Connection, seconds: float) -> None:
    await Assumed([share()], None).write(connection, str(uuid4()), [], seconds)


async def after_reading(connection: Connection, seconds: float) -> None:
    known, commands = Known(), [share()]
    await known.read(connection, needs_of(commands), None)
    decide_all(known.state, commands)
    await write(connection, known.state.edits, known.state, str(uuid4()), [], seconds)


@pytest_asyncio.fixture
async def slow(database_url: str) -> AsyncIterator[Connection]:
    """Yield a connection to a database that takes `TAKES` seconds for each sharing."""
    async with opened(database_url):
        PostgresEngine(database_url, None)._rows(SLOW)
        connection = await connect_to_write(connection_string(database_url), patience=60.0)
        yield connection
        await connection.close()


@pytest.mark.parametrize("change", [in_one_round_trip, after_reading])
async def test_a_transaction_that_takes_too_long_is_not_committed(
    slow: Connection, database_url: str, change: Change
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await change(slow, TAKES * 0.8)
    await slow.rollback()
    assert PostgresEngine(database_url, None).history() == []


@pytest.mark.parametrize("change", [in_one_round_trip, after_reading])
async def test_a_slow_transaction_that_has_time_is_committed(
    slow: Connection, database_url: str, change: Change
) -> None:
    await change(slow, TAKES * 1000)
    assert len(PostgresEngine(database_url, None).history()) == 1
