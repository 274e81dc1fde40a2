"""The contract of every store for the deletion of old events and of sharings that have ended."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from backup_sharing.errors import SharingNotFound
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import EventFilter, OldEvent, OldSharing, Store
from tests.store.commands import (
    BACKUP_ID,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    backup,
    backup_id,
    cancel,
    cancel_all,
    cause,
    given,
    key,
    page,
    project_id,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

LATE = NOW + 1000 * SECOND
"""After all events of these tests."""


async def positions(store: Store) -> list[int]:
    return [each.position for each in await store.events_after(0, 1000)]


@pytest.fixture
async def ten(store: Store) -> Store:
    """Return a store with ten events, one second after the other from `NOW` on."""
    for number in range(1, 10):
        await store.share(share(project_id(number), because=cause(NOW + number * SECOND)))
    assert await positions(store) == list(range(1, 11))
    return store


async def test_the_time_is_the_store_s(store: Store, engine: Engine) -> None:
    engine.now = NOW + 5
    assert await store.time() == NOW + 5


async def test_events_before_a_time_are_deleted(ten: Store) -> None:
    assert await ten.purge_events(NOW + 4 * SECOND, 100) == 4
    assert await positions(ten) == [5, 6, 7, 8, 9, 10]
    bounds = await ten.log_bounds()
    assert (bounds.oldest, bounds.newest) == (4, 10)
    assert await ten.purge_events(NOW + 4 * SECOND, 100) == 0


async def test_no_more_events_are_deleted_at_once_than_allowed(ten: Store) -> None:
    found = []
    while deleted := await ten.purge_events(NOW + 8 * SECOND, 3):
        found.append((deleted, (await ten.log_bounds()).oldest))
    assert found == [(3, 3), (3, 6), (2, 8)]


async def test_an_event_that_is_not_old_keeps_the_later_ones(store: Store) -> None:
    # The clock of a server was ten seconds ahead, and was set back.
    for number, at in enumerate((1, 10, 2, 3, 11), 1):
        await store.share(share(project_id(number), because=cause(NOW + at * SECOND)))
    assert await store.purge_events(NOW + 5 * SECOND, 100) == 2
    assert await positions(store) == [3, 4, 5, 6]
    assert await store.purge_events(NOW + 11 * SECOND, 100) == 3
    assert await positions(store) == [6]


async def test_the_newest_position_survives_a_purge_of_all(ten: Store) -> None:
    before = await ten.log_bounds()
    assert await ten.purge_events(LATE, 100) == 10
    after = await ten.log_bounds()
    assert (after.store_id, after.oldest, after.newest) == (before.store_id, 10, 10)
    assert await ten.events_after(10, 10) == []
    await ten.share(share(OTHER))
    assert await positions(ten) == [11]
    assert (await ten.log_bounds()).oldest == 10


async def test_old_events_are_those_a_purge_deletes(ten: Store) -> None:
    old = await ten.old_events(NOW + 7 * SECOND, 100)
    assert old == [OldEvent(1 + number, NOW + number * SECOND) for number in range(7)]
    pages = [await ten.old_events(NOW + 7 * SECOND, 4)]
    pages.append(await ten.old_events(NOW + 7 * SECOND, 4, pages[0][-1].position))
    assert [*pages[0], *pages[1]] == old
    assert await ten.purge_events(NOW + 7 * SECOND, 100) == 7
    assert await ten.old_events(NOW + 7 * SECOND, 100) == []


async def test_an_empty_store_has_nothing_to_delete(empty_store: Store) -> None:
    assert await empty_store.purge_events(LATE, 10) == 0
    assert await empty_store.purge_sharings(LATE, 10) == 0
    bounds = await empty_store.log_bounds()
    assert (bounds.oldest, bounds.newest) == (0, 0)


@pytest.fixture
async def ended(store: Store, engine: Engine) -> list[Sharing]:
    """Return three sharings: cancelled, ended by itself, and active."""
    first, second = await store.share(share(RECIPIENT, OTHER))
    (third,) = await store.share(share(project_id(3), expires_at=NOW + 2 * SECOND))
    await store.cancel(cancel(first.id, because=cause(NOW + SECOND)))
    engine.now = NOW + 2 * SECOND
    return [first, third, second]


async def test_ended_sharings_are_deleted_and_no_others(store: Store, engine: Engine, ended: list[Sharing]) -> None:
    _, due, active = ended
    assert await store.purge_sharings(LATE, 100) == 1
    assert {each.id for each in engine.history()} == {due.id, active.id}
    await store.end_due(10)
    assert await store.purge_sharings(NOW + 2 * SECOND, 100) == 0
    assert await store.purge_sharings(NOW + 2 * SECOND + 1, 100) == 1
    assert [each.id for each in engine.history()] == [active.id]
    assert (await store.get_sharing(OTHER, active.id)).sharing == active
    assert [each.sharing for each in (await store.list_sharings(page())).items] == [active]
    assert await store.count_sharings(given()) == 1
    assert await store.purge_sharings(LATE, 100) == 0


async def test_no_more_sharings_are_deleted_at_once_than_allowed(store: Store, engine: Engine) -> None:
    for number in range(1, 6):
        (sharing,) = await store.share(share(sharing_ids=[f"s{6 - number}"]))
        await store.cancel(cancel(sharing.id, because=cause(NOW + number * SECOND)))
    old = await store.old_sharings(LATE, 100)
    assert old == [OldSharing(NOW + number * SECOND, f"s{6 - number}") for number in range(1, 6)]
    pages = [await store.old_sharings(LATE, 2), await store.old_sharings(LATE, 2, old[1])]
    assert [*pages[0], *pages[1]] == old[:4]
    assert await store.purge_sharings(NOW + 5 * SECOND, 3) == 3
    assert [each.id for each in engine.history()] == ["s1", "s2"]
    assert await store.purge_sharings(NOW + 5 * SECOND, 3) == 1


async def test_sharings_of_one_instant_are_paged_by_id(store: Store) -> None:
    ids = [f"s{number}" for number in range(7)]
    await store.share(share(*map(project_id, range(7)), sharing_ids=ids))
    await store.cancel_all(cancel_all())
    found: list[OldSharing] = []
    while part := await store.old_sharings(LATE, 3, found[-1] if found else None):
        found += part
    assert [each.id for each in found] == ids


async def test_a_purge_of_sharings_leaves_the_history_as_it_is(
    store: Store, engine: Engine, ended: list[Sharing]
) -> None:
    await store.end_due(10)
    filters = [
        EventFilter(*members)
        for members in product(
            (None, GIVER, RECIPIENT), (None, BACKUP_ID), (None, *(each.id for each in ended)), (None, RECIPIENT)
        )
        if members[0] is None or members[0] != members[3]
    ]

    async def history() -> list[object]:
        return [await store.list_events(each, 100, 0, None, descending=True) for each in filters]

    before, events = await history(), engine.events()
    assert await store.purge_sharings(LATE, 100) == 2
    assert await history() == before
    assert engine.events() == events
    wanted = EventFilter(GIVER, sharing_id=ended[0].id)
    found = await store.list_events(wanted, 100, 0, None, descending=False)
    assert [each.event.kind for each in found.items] == ["shared", "cancelled"]


async def test_a_deleted_sharing_is_unknown_and_may_come_again(store: Store, ended: list[Sharing]) -> None:
    await store.purge_sharings(LATE, 100)
    with pytest.raises(SharingNotFound):
        await store.get_sharing(GIVER, ended[0].id)
    with pytest.raises(SharingNotFound):
        await store.cancel(cancel(ended[0].id))
    (again,) = await store.share(share(RECIPIENT))
    assert (await store.get_sharing(RECIPIENT, again.id)).sharing == again


async def test_a_repeated_call_is_answered_after_a_purge(store: Store) -> None:
    (sharing,) = await store.share(share(idempotency=key("give")))
    cancelled = await store.cancel(cancel(sharing.id, idempotency=key("take")))
    await store.purge_sharings(LATE, 100)
    await store.purge_events(LATE, 100)
    assert await store.share(share(idempotency=key("give"))) == [sharing]
    assert await store.cancel(cancel(sharing.id, idempotency=key("take"))) == cancelled
    assert await positions(store) == []


async def test_events_go_although_their_sharing_stays(store: Store, ended: list[Sharing], engine: Engine) -> None:
    await store.purge_events(LATE, 100)
    assert len(engine.history()) == 3
    found = await store.list_events(EventFilter(sharing_id=ended[0].id), 100, 0, None, descending=True)
    assert found.items == []
    (cancelled,) = await store.cancel(cancel(ended[2].id))
    assert cancelled.id == ended[2].id


async def test_a_removed_backup_does_not_hold_back_a_purge(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT, OTHER))
    await store.remove_backup(RemoveBackup(BACKUP_ID, cause(NOW + SECOND)))
    assert await store.purge_sharings(LATE, 100) == 2
    assert await store.purge_events(LATE, 100) == 6
    assert (engine.history(), engine.events()) == ([], [])


async def test_several_servers_delete_while_changes_are_made(empty_store: Store, engine: Engine) -> None:
    stores = [empty_store, await engine.open()]
    ids = [backup_id(number) for number in range(6)]
    done = asyncio.Event()

    async def change(store: Store, identifier: str) -> None:
        await store.put_backup(PutBackup(backup(identifier), cause()))
        for _ in range(8):
            (sharing,) = await store.share(share(RECIPIENT, backup_id=identifier))
            await store.cancel(cancel(sharing.id))

    async def delete(store: Store) -> None:
        while not done.is_set():
            await store.purge_events(LATE, 5)
            await store.purge_sharings(LATE, 5)

    async def follow() -> None:
        """See that the log has no hole, whatever is deleted."""
        while not done.is_set():
            seen = await positions(empty_store)
            assert seen == list(range(seen[0], seen[-1] + 1) if seen else [])

    others = [asyncio.create_task(each) for each in (*map(delete, stores), follow())]
    await asyncio.gather(*(change(stores[number % 2], each) for number, each in enumerate(ids)))
    done.set()
    await asyncio.gather(*others)
    while await empty_store.purge_events(LATE, 100) + await empty_store.purge_sharings(LATE, 100):
        pass
    assert (engine.history(), engine.events()) == ([], [])
    newest = len(ids) * (1 + 2 * 8)
    bounds = await stores[1].log_bounds()
    assert (bounds.oldest, bounds.newest) == (newest, newest)
