"""The counter of a backup's active sharings is right after any changes, by any number of stores."""

from __future__ import annotations

import asyncio
import random

import pytest

from backup_sharing.errors import QuotaUsedUp
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    BACKUP_ID,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    STRANGER,
    backup,
    cancel,
    cancel_all,
    cause,
    share,
)
from tests.store.engines import Engine
from tests.store.hammering import hammer

pytestmark = pytest.mark.asyncio


def counter(engine: Engine) -> int:
    """Return the counter of the backup, which must agree with the rows."""
    assert engine.wrong_counters() == []
    ((number,),) = engine._rows(f"SELECT active_sharings FROM backups WHERE id = '{BACKUP_ID}'")  # noqa: S608 -- constant
    return int(number)


async def test_counters_are_right_after_any_changes_by_two_stores(engine: Engine) -> None:
    stores = [await engine.open() for _ in range(2)]
    for seed in range(4):
        engine.now = NOW + seed
        drawn = [random.Random(f"{seed} {caller}") for caller in range(8)]  # noqa: S311 -- no secret
        ends = (None, engine.now + 1, engine.now + 2)
        callers = [hammer(stores[caller % 2], drawn[caller], 15, ends) for caller in range(8)]
        sweeps = [store.end_due(100) for store in stores]
        await asyncio.gather(*callers, *sweeps)
        assert engine.wrong_counters() == []
        assert engine.history()


async def test_each_change_keeps_the_counter_right(store: Store, engine: Engine) -> None:
    (first, _) = await store.share(share(RECIPIENT, OTHER))
    assert counter(engine) == 2
    await store.cancel(cancel(first.id))
    assert counter(engine) == 1
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    assert counter(engine) == 1
    await store.cancel_all(cancel_all())
    assert counter(engine) == 0


async def test_a_backup_that_is_added_again_counts_from_zero(store: Store, engine: Engine) -> None:
    await store.share(share())
    calls = [
        store.remove_backup(RemoveBackup(BACKUP_ID, cause())),
        store.put_backup(PutBackup(backup(), cause())),
        store.share(share(OTHER, STRANGER)),
    ]
    await asyncio.gather(*calls)
    assert counter(engine) == 2


async def test_due_sharings_count_until_their_end_is_recorded(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT, OTHER, expires_at=NOW + 1))
    engine.now = NOW + 1
    assert counter(engine) == 2
    await store.share(share(STRANGER, max_active=1))
    assert counter(engine) == 1


async def test_recorded_ends_are_counted_and_a_purge_is_not(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT, expires_at=NOW + 1))
    await store.share(share(OTHER))
    engine.now = NOW + 1
    assert (await store.end_due(10)).ended == 1
    assert counter(engine) == 1
    assert await store.purge_sharings(NOW + SECOND, 10) == 1
    assert counter(engine) == 1


async def test_a_share_that_only_checks_is_not_counted(store: Store, engine: Engine) -> None:
    await store.share(share(validate_only=True))
    assert counter(engine) == 0


async def test_the_quota_is_of_the_counter(store: Store, engine: Engine) -> None:
    engine.write("UPDATE backups SET active_sharings = 5")
    with pytest.raises(QuotaUsedUp):
        await store.share(share(max_active=5))
    await store.share(share(max_active=6))
