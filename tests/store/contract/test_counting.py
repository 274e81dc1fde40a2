"""The count of rows part by part, on every engine."""

from __future__ import annotations

import pytest

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.interface import Store
from backup_sharing.store.listing import Counted, Part
from tests.store.commands import NOW, backup, backup_id, cancel, cause, share
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

BACKUPS, SHARINGS = Counted.BACKUPS, Counted.SHARINGS


def batched(store: Store) -> BatchedStore:
    assert isinstance(store, BatchedStore)
    return store


async def all_parts(store: Store, counted: Counted, limit: int) -> list[int]:
    """Return the rows of each part up to the first that is not full."""
    rows, after = [limit], ""
    while rows[-1] == limit:
        part = await batched(store).count_part(counted, after, limit)
        rows.append(part.rows)
        after = part.last
    return rows[1:]


@pytest.mark.parametrize("counted", Counted)
async def test_an_empty_store_has_nothing_to_count(empty_store: Store, counted: Counted) -> None:
    assert await batched(empty_store).count_part(counted, "", 10) == Part(0, "")


async def test_backups_are_counted_part_by_part(empty_store: Store) -> None:
    for number in range(5):
        await empty_store.put_backup(PutBackup(backup(backup_id(number)), cause()))
    assert await all_parts(empty_store, BACKUPS, 2) == [2, 2, 1]
    assert await all_parts(empty_store, BACKUPS, 5) == [5, 0]
    assert await batched(empty_store).count_part(BACKUPS, backup_id(3), 9) == Part(1, backup_id(4))


async def test_active_sharings_are_counted_across_backups(empty_store: Store) -> None:
    for number in range(3):
        await empty_store.put_backup(PutBackup(backup(backup_id(number)), cause()))
        to = [f"project-{recipient}_{number}" for recipient in range(3)]
        ids = [f"{number}{recipient}" for recipient in range(3)]
        await empty_store.share(share(*to, backup_id=backup_id(number), sharing_ids=ids))
    for limit in (1, 2, 3, 4, 9, 10):
        assert sum(await all_parts(empty_store, SHARINGS, limit)) == 9
    await empty_store.cancel(cancel("11"))
    assert await all_parts(empty_store, SHARINGS, 4) == [4, 4, 0]


async def test_a_due_sharing_counts_until_its_end_is_recorded(engine: Engine, store: Store) -> None:
    await store.share(share(sharing_ids=["1"], expires_at=NOW + 10))
    engine.now = NOW + 10
    assert await all_parts(store, SHARINGS, 10) == [1]
    await store.end_due(10)
    assert await all_parts(store, SHARINGS, 10) == [0]
