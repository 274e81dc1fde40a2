"""Deletion of old data in PostgreSQL beside other servers and open transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest_asyncio

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import BACKUP_ID, GIVER, NOW, OTHER, RECIPIENT, SECOND, backup, cancel, cause, share
from tests.store.opened import open_postgres

LATE = NOW + 1000 * SECOND
EVENT = """
    INSERT INTO sharing_events (kind, at, by_project_id, by_user_id, request_id, backup_id, from_project_id)
    VALUES ('backup_put', 1, '', '', 'late', %s, %s)
"""


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Yield a store with a cancelled sharing and three events."""
    store = await open_postgres(database_url)
    await store.put_backup(PutBackup(backup(), cause()))
    (sharing,) = await store.share(share(RECIPIENT))
    await store.cancel(cancel(sharing.id))
    yield store
    await store.close()


async def test_while_another_server_deletes_changes_go_on(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as another:
        another.execute("SELECT 1 FROM store FOR UPDATE")
        another.execute("DELETE FROM sharing_events WHERE position <= 2")
        another.execute("DELETE FROM sharings")
        # Neither waits for the locks of the other server.
        purged = asyncio.gather(store.purge_events(LATE, 10), store.purge_sharings(LATE, 10))
        (sharing,), found = await asyncio.gather(store.share(share(OTHER)), purged)
        assert found in ([3, 1], [4, 1])  # the new event may be there already
        assert (await store.get_sharing(OTHER, sharing.id)).sharing == sharing
        bounds = await store.log_bounds()
        assert (bounds.oldest, bounds.newest) == (0, 4)
        another.rollback()
    assert [await store.purge_events(LATE, 10), await store.purge_sharings(LATE, 10)] == [4, 1]
    assert (await store.log_bounds()).oldest == 4


async def test_an_old_event_that_commits_late_is_not_skipped(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as late:
        # Its number is lower than that of the next event, and its time is old.
        late.execute(EVENT, (BACKUP_ID, GIVER))
        await store.share(share(OTHER))
        assert await store.purge_events(LATE, 10) == 4
        bounds = await store.log_bounds()
        assert (bounds.oldest, bounds.newest) == (4, 4)
        late.commit()
    (event,) = await store.events_after(4, 10)
    assert (event.position, event.event.request_id) == (5, "late")
    assert await store.purge_events(LATE, 10) == 1


async def test_events_nobody_has_read_yet_are_deleted_in_order(store: Store) -> None:
    # No read has given them a position.
    assert await store.purge_events(LATE, 2) == 2
    assert [each.position for each in await store.events_after(0, 10)] == [3]


async def test_the_time_is_the_database_s(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as session:
        ((before,),) = session.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchall()
    assert await store.time() >= before
