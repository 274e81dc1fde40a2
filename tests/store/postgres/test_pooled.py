"""Stores behind PgBouncer, whose clients share its sessions: nothing is lost, and nothing is left in a session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager

import psycopg
import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.opening import migrate, open_store, schema_status
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.pooling import PreparedStatements
from backup_sharing.store.progress import Advance
from backup_sharing.store.transfer.opening import open_transfer
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import BACKUP_ID, NOW, RECIPIENT, backup, cancel_all, cause, given, page, share
from tests.store.faults import Load, opened, stored_once
from tests.store.opened import open_postgres, writers
from tests.support.postgres.databases import drop_database, new_database
from tests.support.postgres.folder import PATIENCE
from tests.support.postgres.pgbouncer import PgBouncer
from tests.support.postgres.proxy import TcpProxy, address_of
from tests.support.postgres.server import PostgresServer

pytestmark = pytest.mark.outside

SESSIONS = 3
"""Sessions of a pooler."""

OF_POOLERS = {"application_name", "client_encoding", "DateStyle", "standard_conforming_strings", "TimeZone"}
"""Settings that PgBouncer itself makes again for each of its clients."""

NEW = (*MIGRATIONS, Migration("9001_notes", "Notes", lambda _: None, ("CREATE TABLE notes (id TEXT PRIMARY KEY)",)))


@pytest.fixture
def pooler(database_url: str) -> Iterator[PgBouncer]:
    with PgBouncer(database_url, pool_size=SESSIONS) as pooler:
        yield pooler


def left_behind(pooler: PgBouncer) -> set[str]:
    """Return the settings and prepared statements that clients have left in the sessions of a pooler."""
    found: set[str] = set()
    with ExitStack() as opened:
        held = []
        for _ in range(SESSIONS):
            # An open transaction holds its session, so that the next one gets another session.
            connection = opened.enter_context(psycopg.connect(pooler.url, prepare_threshold=None))
            ((session,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
            held.append(session)
            made = connection.execute("SELECT name FROM pg_settings WHERE source = 'session'").fetchall()
            prepared = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
            locks = connection.execute("SELECT mode FROM pg_locks WHERE locktype = 'advisory'").fetchall()
            found |= {str(text) for (text,) in (*made, *prepared, *locks)} - OF_POOLERS
        assert len(set(held)) == SESSIONS
    return found


async def work_of_all_kinds(store: Store) -> None:
    """Make calls that take every way through the store."""
    await store.share(share(RECIPIENT, max_active=5))
    await store.list_sharings(page(given()))
    await store.count_sharings(given())
    await store.get_backup(BACKUP_ID)
    await store.ping()
    await store.cancel_all(cancel_all(BACKUP_ID))


async def test_no_setting_and_no_statement_stays_in_a_session(pooler: PgBouncer) -> None:
    async with opened(pooler.url) as store:
        await work_of_all_kinds(store)
        load = Load([store])
        await load.begin()
        await load.more(50)
        await load.end()
        assert left_behind(pooler) == set()
    assert left_behind(pooler) == set()


async def test_servers_and_strangers_share_sessions_under_load(database_url: str, pooler: PgBouncer) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(pooler.url)) for _ in range(2)]
        load = Load(stores)
        await load.begin()
        for _ in range(10):
            assert await asyncio.to_thread(left_behind, pooler) == set()
            await load.more(30)
        await load.end()
    assert load.failures == []
    stored_once(database_url, load.acknowledged)


async def test_one_session_is_enough(database_url: str) -> None:
    with PgBouncer(database_url, pool_size=1) as pooler:
        async with opened(pooler.url) as store:
            load = Load([store])
            await load.begin()
            await load.more(100)
            await load.end()
    assert load.failures == []
    stored_once(database_url, load.acknowledged)


@pytest.mark.resilience
async def test_sessions_that_end_under_load_lose_nothing(own_postgres: PostgresServer) -> None:
    with PgBouncer(own_postgres.url) as pooler:
        async with opened(pooler.url) as store:
            load = Load([store])
            await load.begin()
            for _ in range(10):
                await asyncio.to_thread(own_postgres.cut_connections)
                await load.more(20)
            await load.end()
    assert load.failures == []
    stored_once(own_postgres.url, load.acknowledged)


@pytest.mark.resilience
async def test_connections_to_the_pooler_that_are_cut_lose_nothing(database_url: str, pooler: PgBouncer) -> None:
    with TcpProxy(address_of(pooler.url)) as proxy:
        async with opened(proxy.through(pooler.url)) as store:
            load = Load([store])
            await load.begin()
            for _ in range(20):
                await asyncio.to_thread(proxy.cut)
                await load.more(10)
            await load.end()
    assert load.failures == []
    stored_once(database_url, load.acknowledged)


async def test_a_pooled_statement_ends_with_the_patience(database_url: str, pooler: PgBouncer) -> None:
    async with opened(pooler.url, patience=0.2) as store:
        with psycopg.connect(database_url) as session:
            session.execute("LOCK TABLE backups IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await store.get_backup(BACKUP_ID)
            # The server itself gives up waiting for the lock, so that the pooler has its session again.
            await until_nobody_waits(database_url)


@pytest.mark.parametrize("prepared", ["auto", "on", "off"])
async def test_direct_connections_prepare_unless_told_not_to(database_url: str, prepared: PreparedStatements) -> None:
    with TcpProxy(address_of(database_url)) as proxy:  # which is no pooler
        store = await open_postgres(proxy.through(database_url), prepared=prepared)
        connection = await connected(store)
        rows = await connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
        is_prepared = any("batches" in str(statement) for (statement,) in await rows.fetchall())
        assert is_prepared is (prepared != "off")
        assert bool(connection.transaction_settings) is (prepared == "off")
        await store.close()


async def test_a_pooler_of_sessions_can_have_prepared_statements(database_url: str) -> None:
    with PgBouncer(database_url, "session", pool_size=10) as pooler:
        store = await open_postgres(pooler.url, prepared="on")
        connection = await connected(store)
        rows = await connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
        assert any("batches" in str(statement) for (statement,) in await rows.fetchall())
        assert connection.transaction_settings
        await store.close()


async def test_a_pooler_of_statements_is_refused_with_the_reason(database_url: str) -> None:
    with PgBouncer(database_url, "statement") as pooler:
        expected = "its pool mode is 'statement', expected is 'transaction' or 'session'"
        with pytest.raises(UnusableDatabase, match=expected):
            await open_store(pooler.url)
        with pytest.raises(UnusableDatabase, match=expected):
            await asyncio.to_thread(migrate, pooler.url)
        with pytest.raises(UnusableDatabase, match=expected):
            await asyncio.to_thread(schema_status, pooler.url)


async def test_concurrent_migrations_through_a_pooler_are_made_once(pooler: PgBouncer) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(migrate, pooler.url) for _ in range(4)))
    assert sum(not status.pending for status in found) == 3
    status = await asyncio.to_thread(migrate, pooler.url, NEW)
    assert status.pending == ["9001_notes"]
    assert not (await asyncio.to_thread(schema_status, pooler.url, NEW)).pending
    assert left_behind(pooler) == set()


async def test_a_copy_through_a_pooler_leaves_nothing_behind(
    postgres: str, database_url: str, pooler: PgBouncer
) -> None:
    async with opened(database_url) as store:
        await store.share(share(RECIPIENT))
    target = new_database(postgres)
    with PgBouncer(target, pool_size=SESSIONS) as other:
        with open_transfer(pooler.url, other.url, NOW) as transfer:
            written = transfer.carry(no_bar)
            checked = transfer.check(no_bar)
        assert written > 0
        assert not any(each.differences for each in checked)
        assert left_behind(pooler) == left_behind(other) == set()
    drop_database(target)


async def connected(store: Store) -> Connection:
    """Return the connection of the first writer, after it has made a change."""
    await store.put_backup(PutBackup(backup(), cause()))
    connection = writers(store)[0]._session._connection
    assert connection is not None
    return connection


async def until_nobody_waits(url: str) -> None:
    """Wait until no session of a database waits for a lock."""
    with psycopg.connect(url, autocommit=True) as session:
        question = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        end = time.monotonic() + PATIENCE
        while session.execute(question).fetchall() != [(0,)]:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)


@contextmanager
def no_bar(_label: str, _length: int) -> Iterator[Advance]:
    yield lambda _: None
