"""Concurrent changes by several stores: each is made once, in one order, and none waits forever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from uuid import uuid4

import psycopg

from backup_sharing.errors import AlreadyShared, IdempotencyKeyReused, Unavailable
from backup_sharing.rules.commands import PutBackup
from tests.store.commands import BACKUP_ID, backup, backup_id, cause, key, project_id, share
from tests.store.engines import PostgresEngine
from tests.store.faults import SLACK, opened, stored_once
from tests.store.hammering import BACKUPS, hammer
from tests.store.opened import open_postgres
from tests.support.postgres.server import PostgresServer
from tests.support.programs import PATIENCE


def explained_by_events(url: str) -> None:
    """Assert that the events are possible in their order, and lead to exactly the stored rows."""
    engine = PostgresEngine(url, None)
    there: set[str] = set()
    active: dict[str, tuple[str, str | None]] = {}
    ended: set[str] = set()
    for event in engine.events():
        pair = event.backup_id, event.to_project_id
        match event.kind:
            case "backup_put":
                there.add(event.backup_id)
            case "backup_removed":
                there.remove(event.backup_id)
                assert event.backup_id not in {backup for backup, _ in active.values()}
            case "shared":
                assert event.backup_id in there
                assert event.sharing_id
                assert pair not in active.values()
                active[event.sharing_id] = pair
            case "cancelled":
                assert event.sharing_id
                assert active.pop(event.sharing_id) == pair
                ended.add(event.sharing_id)
    history = engine.history()
    assert {s.id: (s.backup_id, s.to_project_id) for s in history if s.deleted_at is None} == active
    assert {s.id for s in history if s.deleted_at is not None} == ended
    assert {stored for (stored,) in engine._rows("SELECT id FROM backups")} == there
    assert engine.wrong_counters() == []


async def test_changes_of_one_backup_by_several_stores_come_in_turn(
    own_postgres: PostgresServer,
) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(own_postgres.url, patience=PATIENCE)) for _ in range(3)]
        callers = [hammer(stores[n % 3], random.Random(n), 60) for n in range(24)]  # noqa: S311 -- no secret
        acknowledged = [sharing for made in await asyncio.gather(*callers) for sharing in made]
    stored_once(own_postgres.url, acknowledged)
    explained_by_events(own_postgres.url)
    ended = {sharing.id for sharing in acknowledged if sharing.deleted_at is not None}
    history = {sharing.id: sharing for sharing in PostgresEngine(own_postgres.url, None).history()}
    assert all(history[sharing_id].deleted_at is not None for sharing_id in ended)
    assert "deadlock detected" not in own_postgres.log


async def test_of_identical_shares_through_several_stores_one_wins(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(3)]
        for number in range(5):
            to = project_id(number)
            calls = [stores[n % 3].share(share(to)) for n in range(64)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert Counter(type(outcome) for outcome in outcomes) == {list: 1, AlreadyShared: 63}
    stored_once(database_url, [])


async def test_shares_with_one_key_by_several_stores_get_one_answer(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(3)]
        calls = [stores[n % 3].share(share(project_id(1), idempotency=key())) for n in range(48)]
        outcomes = await asyncio.gather(*calls)
        assert len({tuple(outcome) for outcome in outcomes}) == 1
    stored_once(database_url, [])


async def test_a_key_used_at_once_for_two_backups_is_used_for_one(own_postgres: PostgresServer) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(own_postgres.url)) for _ in range(3)]
        for number in range(1, 31):
            await stores[0].put_backup(PutBackup(backup(backup_id(number)), cause()))
        for turn in range(10):
            keys = [f"{turn}-{n}" for n in range(4)]
            calls = [
                stores[n % 3].share(
                    share(
                        project_id(turn),
                        backup_id=backup_id(1 + n),
                        # The orders differ, so taking the locks in the order of the calls would deadlock.
                        idempotency=key(keys[(n * 7 + n // 3) % 4], fingerprint=str(n).encode()),
                    )
                )
                for n in range(30)
            ]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert Counter(type(outcome) for outcome in outcomes) == {list: 4, IdempotencyKeyReused: 26}
    stored_once(own_postgres.url, [])
    assert "deadlock detected" not in own_postgres.log


async def test_a_quota_holds_through_several_stores(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(3)]
        calls = [stores[n % 3].share(share(project_id(n), max_active=10)) for n in range(60)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, list) for outcome in outcomes) == 10
    assert len(PostgresEngine(database_url, None).history()) == 10


async def test_several_writers_of_one_store_make_every_change_once(database_url: str) -> None:
    store = await open_postgres(database_url, write_connections=3)
    for about in BACKUPS:
        await store.put_backup(PutBackup(backup(about), cause()))
    made = await asyncio.gather(*(hammer(store, random.Random(n), 30) for n in range(12)))  # noqa: S311 -- no secret
    await asyncio.wait_for(store.close(), SLACK)
    stored_once(database_url, [sharing for some in made for sharing in some])
    explained_by_events(database_url)


async def test_one_that_cannot_be_stored_does_not_touch_its_batch(database_url: str) -> None:
    async with opened(database_url) as store:
        taken = str(uuid4())
        await store.share(share(project_id(1), sharing_ids=[taken]))
        calls = [store.share(share(project_id(n))) for n in range(2, 30)]
        calls.insert(5, store.share(share(project_id(99), sharing_ids=[taken])))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)] == [Unavailable]
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT count(*) FROM sharings WHERE backup_id = %s", (BACKUP_ID,)).fetchall()
        assert rows == [(29,)]
