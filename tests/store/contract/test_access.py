"""Access checks: one state, every pair, and no sharing after its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import Access, Store
from tests.store.commands import (
    BACKUP_ID,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    STRANGER,
    backup,
    backup_id,
    cancel,
    cause,
    project_id,
    share,
)
from tests.store.engines import Engine

LONG_AFTER_ALL_TESTS = 4_102_444_800_000_000
"""2100-01-01, in microseconds."""
NOTHING = Access(None, None)


def ends(at: int, sharing: Sharing) -> str:
    """Return the statement that gives a sharing an end."""
    return f"UPDATE sharings SET expires_at = {at} WHERE id = '{sharing.id}'"  # noqa: S608 -- our own values


async def checked(store: Store, *pairs: tuple[str, str]) -> Sequence[Access]:
    return (await store.check_access(pairs)).accesses


async def test_an_unknown_backup_has_no_owner_and_no_sharing(store: Store) -> None:
    assert await checked(store, (backup_id(99), RECIPIENT)) == [NOTHING]


async def test_owner_recipient_and_stranger_are_told_apart(store: Store) -> None:
    (sharing,) = await store.share(share(RECIPIENT))
    found = await checked(store, (BACKUP_ID, GIVER), (BACKUP_ID, RECIPIENT), (BACKUP_ID, STRANGER))
    assert found == [Access(GIVER, None), Access(GIVER, sharing), Access(GIVER, None)]


async def test_a_cancelled_sharing_gives_no_access(store: Store) -> None:
    (sharing,) = await store.share(share(RECIPIENT))
    await store.cancel(cancel(sharing.id))
    assert await checked(store, (BACKUP_ID, RECIPIENT)) == [Access(GIVER, None)]


async def test_a_removed_backup_gives_no_access(store: Store) -> None:
    await store.share(share(RECIPIENT))
    await store.remove_backup(RemoveBackup(BACKUP_ID, cause()))
    assert await checked(store, (BACKUP_ID, RECIPIENT), (BACKUP_ID, GIVER)) == [NOTHING, NOTHING]


async def test_a_due_sharing_gives_no_access(store: Store, engine: Engine) -> None:
    due, lasting = await store.share(share(RECIPIENT, OTHER))
    engine.write(ends(NOW, due))
    engine.write(ends(LONG_AFTER_ALL_TESTS, lasting))
    first, second = await checked(store, (BACKUP_ID, RECIPIENT), (BACKUP_ID, OTHER))
    assert first == Access(GIVER, None)
    assert second.sharing is not None
    assert (second.sharing.id, second.sharing.expires_at) == (lasting.id, LONG_AFTER_ALL_TESTS)


@pytest.mark.parametrize(("now", "is_active"), [(NOW - 1, True), (NOW, False), (NOW + 1, False)])
async def test_a_sharing_is_due_at_its_very_end(store: Store, engine: Engine, now: int, is_active: bool) -> None:
    (sharing,) = await store.share(share(RECIPIENT))
    engine.write(ends(NOW, sharing))
    engine.now = now
    (found,) = await checked(store, (BACKUP_ID, RECIPIENT))
    assert (found.sharing is not None) == is_active


async def test_a_thousand_pairs_are_answered_in_their_order(store: Store) -> None:
    projects = [project_id(number) for number in range(1000)]
    await store.share(share(*projects[::2]))
    found = await checked(store, *((BACKUP_ID, project) for project in reversed(projects)))
    assert [each.sharing.to_project_id if each.sharing else None for each in reversed(found)] == [
        project if number % 2 == 0 else None for number, project in enumerate(projects)
    ]


async def test_the_same_pair_twice_is_answered_twice(store: Store) -> None:
    (sharing,) = await store.share(share(RECIPIENT))
    pair = (BACKUP_ID, RECIPIENT)
    assert await checked(store, pair, pair) == [Access(GIVER, sharing)] * 2


async def test_a_watch_from_a_check_misses_no_later_event(store: Store) -> None:
    before = await store.check_access([(BACKUP_ID, RECIPIENT)])
    (sharing,) = await store.share(share(RECIPIENT))
    later = await store.events_after(before.position, 100)
    assert sharing.id in [each.event.sharing_id for each in later]
    assert before.store_id == (await store.log_bounds()).store_id


async def test_all_answers_of_a_check_are_from_one_state(empty_store: Store) -> None:
    ids = [backup_id(number) for number in range(20)]
    for identifier in ids:
        await empty_store.put_backup(PutBackup(backup(identifier), cause()))
    pairs = [(identifier, RECIPIENT) for identifier in ids]
    stop = asyncio.Event()

    async def change() -> None:
        while not stop.is_set():
            made = [(await empty_store.share(share(RECIPIENT, backup_id=identifier)))[0] for identifier in ids]
            for sharing in made:
                await empty_store.cancel(cancel(sharing.id))

    changing = asyncio.create_task(change())
    for _ in range(100):
        found = [each.sharing is not None for each in await checked(empty_store, *pairs)]
        # One at a time from the first to the last: shared up to some place, or cancelled up to some place.
        assert sum(one != other for one, other in pairwise(found)) <= 1
    stop.set()
    await changing
