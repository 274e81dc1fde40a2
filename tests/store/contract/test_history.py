"""The history: every committed event once, in one order, by filters and pages."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise, product

import pytest

from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import EventFilter, Store, StoredEvent
from tests.store.commands import (
    BACKUP_ID,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    STRANGER,
    backup,
    backup_id,
    cancel,
    cause,
    share,
)
from tests.store.engines import Engine

ALL = EventFilter()
SECOND_BACKUP = backup_id(2)


async def listed(
    store: Store, filter: EventFilter = ALL, *, descending: bool = False, page: int = 1000, offset: int = 0
) -> list[StoredEvent]:
    """Return the events of all pages by position."""
    found: list[StoredEvent] = []
    while True:
        after = found[-1].position if found else None
        part = await store.list_events(filter, page, 0 if found else offset, after, descending=descending)
        assert len(part.items) <= page
        found += part.items
        if not part.more:
            return found
        assert len(part.items) == page


async def test_an_empty_store_has_no_events(empty_store: Store) -> None:
    bounds = await empty_store.log_bounds()
    assert (bounds.oldest, bounds.newest) == (0, 0)
    assert re.fullmatch(r"[0-9a-f]{16}", bounds.store_id)
    assert await empty_store.events_after(0, 10) == []
    assert await listed(empty_store) == []


async def test_every_acknowledged_change_is_in_the_history(store: Store) -> None:
    first, second = await store.share(share(RECIPIENT, OTHER))
    await store.cancel(cancel(first.id, because=cause(NOW + SECOND)))
    await store.remove_backup(RemoveBackup(BACKUP_ID, cause(NOW + 2 * SECOND)))
    found = await listed(store)
    assert [each.position for each in found] == [1, 2, 3, 4, 5, 6]
    made = [(each.event.kind, each.event.sharing_id) for each in found]
    assert made[:4] == [("backup_put", None), ("shared", first.id), ("shared", second.id), ("cancelled", first.id)]
    assert set(made[4:]) == {("cancelled", second.id), ("backup_removed", None)}
    event = found[3].event
    assert (event.at, event.by_project_id, event.by_user_id, event.request_id) == (
        *(NOW + SECOND, GIVER),
        *("someone", "req-1"),
    )
    assert (event.backup_id, event.from_project_id, event.to_project_id) == (BACKUP_ID, GIVER, RECIPIENT)
    assert await store.events_after(0, 1000) == found
    assert (await store.log_bounds()).newest == 6


async def test_events_after_a_position_are_the_next_ones(store: Store) -> None:
    await store.share(share(*(f"project-{number}" for number in range(20))))
    every = await store.events_after(0, 1000)
    assert [each.position for each in every] == list(range(1, 22))
    for position, limit in product((0, 1, 7, 20, 21, 99), (1, 5, 100)):
        assert await store.events_after(position, limit) == every[position : position + limit]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("page", [1, 3, 1000])
async def test_pages_by_position_hold_every_event_once(
    empty_store: Store, world: None, page: int, descending: bool
) -> None:
    every = await empty_store.events_after(0, 1000)
    for wanted in (ALL, EventFilter(GIVER), EventFilter(RECIPIENT), EventFilter(backup_id=BACKUP_ID)):
        expected = [each for each in every if matches(wanted, each)]
        found = await listed(empty_store, wanted, page=page, descending=descending)
        assert found == (expected[::-1] if descending else expected)


async def test_pages_by_offset_continue_each_other(empty_store: Store, world: None) -> None:
    every = await listed(empty_store, EventFilter(GIVER))
    for offset in range(len(every) + 2):
        assert await listed(empty_store, EventFilter(GIVER), offset=offset) == every[offset:]
        assert await listed(empty_store, EventFilter(GIVER), offset=offset, descending=True) == every[::-1][offset:]


def matches(filter: EventFilter, stored: StoredEvent) -> bool:
    event = stored.event
    sides = (event.from_project_id, event.to_project_id)
    return (
        (filter.project_id is None or filter.project_id in sides)
        and (filter.other_project_id is None or filter.other_project_id in sides)
        and (filter.project_id is None or filter.other_project_id is None or None not in sides)
        and filter.backup_id in (None, event.backup_id)
        and filter.sharing_id in (None, event.sharing_id)
        and filter.kind in (None, event.kind)
        and (filter.since is None or event.at >= filter.since)
        and (filter.before is None or event.at < filter.before)
    )


@pytest.fixture
async def world(empty_store: Store) -> None:
    """Make events of two backups among four projects, one second after the other."""
    at = iter(range(NOW, NOW + 1000 * SECOND, SECOND))
    given: list[Sharing] = []
    for owner, identifier in ((GIVER, BACKUP_ID), (RECIPIENT, SECOND_BACKUP)):
        await empty_store.put_backup(PutBackup(backup(identifier, owner), cause(next(at))))
        to = [each for each in (GIVER, RECIPIENT, OTHER) if each != owner]
        given += await empty_store.share(
            share(*to, backup_id=identifier, giver=owner, because=cause(next(at), project_id=owner))
        )
    for sharing in given[::2]:
        await empty_store.cancel(
            cancel(sharing.id, sharing.from_project_id, because=cause(next(at), sharing.from_project_id))
        )
    await empty_store.remove_backup(RemoveBackup(SECOND_BACKUP, cause(next(at))))


async def test_every_combination_of_filters_selects_exactly(empty_store: Store, world: None) -> None:
    every = await empty_store.events_after(0, 1000)
    sharing = next(each.event.sharing_id for each in every if each.event.sharing_id)
    unknown = "01900000-0000-7000-8000-00000000ffff"
    for combination in product(
        (None, GIVER, RECIPIENT, OTHER, STRANGER),
        (None, BACKUP_ID, SECOND_BACKUP, backup_id(9)),
        (None, sharing, unknown),
        (None, RECIPIENT, OTHER),
        (None, "shared", "backup_put", "expired"),
        (None, (NOW + SECOND, NOW + 4 * SECOND)),
    ):
        *members, span = combination
        since, before = span or (None, None)
        wanted = EventFilter(*members, since=since, before=before)
        if wanted.project_id == wanted.other_project_id is not None:
            continue
        found = await empty_store.list_events(wanted, 1000, 0, None, descending=False)
        assert list(found.items) == [each for each in every if matches(wanted, each)], wanted


async def test_a_project_with_itself_as_the_other_has_no_events(empty_store: Store, world: None) -> None:
    assert await listed(empty_store, EventFilter(GIVER, other_project_id=GIVER)) == []


async def test_the_newest_position_survives_the_last_event(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT))
    before = await store.log_bounds()
    engine.write("DELETE FROM sharing_events")
    after = await store.log_bounds()
    assert (before.newest, after.oldest, after.newest) == (2, 2, 2)
    assert after.store_id == before.store_id
    await store.share(share(OTHER))
    assert [each.position for each in await store.events_after(2, 10)] == [3]


async def test_the_oldest_position_is_before_the_oldest_event(store: Store, engine: Engine) -> None:
    await store.share(share(*(f"project-{number}" for number in range(9))))
    assert (await store.log_bounds()).newest == 10
    column = "seq" if engine.is_sqlite else "position"
    engine.write(f"DELETE FROM sharing_events WHERE {column} <= 4")  # noqa: S608 -- constants
    bounds = await store.log_bounds()
    assert (bounds.oldest, bounds.newest) == (4, 10)


async def test_readers_during_changes_see_each_event_once(empty_store: Store) -> None:
    ids = [backup_id(number) for number in range(8)]
    done = asyncio.Event()

    async def change(identifier: str) -> None:
        await empty_store.put_backup(PutBackup(backup(identifier), cause()))
        for _ in range(10):
            (sharing,) = await empty_store.share(share(RECIPIENT, backup_id=identifier))
            await empty_store.cancel(cancel(sharing.id))

    async def follow() -> list[StoredEvent]:
        seen: list[StoredEvent] = []
        is_last = False
        while True:
            part = await empty_store.events_after(seen[-1].position if seen else 0, 7)
            seen += part
            if not part and is_last:
                return seen
            is_last = done.is_set()

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    await asyncio.gather(*map(change, ids))
    done.set()
    first, *others = await asyncio.gather(*followers)
    assert [each.position for each in first] == list(range(1, 8 * 21 + 1))
    assert all(other == first for other in others)
    for identifier in ids:
        kinds = [each.event.kind for each in first if each.event.backup_id == identifier]
        assert kinds == ["backup_put", *["shared", "cancelled"] * 10]
    assert all(one.position + 1 == other.position for one, other in pairwise(await listed(empty_store, page=10)))
