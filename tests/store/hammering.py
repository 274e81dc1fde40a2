"""Random changes of a few backups, by many callers at once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotFound,
    IdempotencyKeyReused,
    NotTheGiver,
    QuotaUsedUp,
    SharingNotFound,
)
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import Store
from tests.store.commands import NOW, backup, backup_id, cancel, cancel_all, cause, key, project_id, share

REFUSALS = (AlreadyShared, BackupNotFound, SharingNotFound, NotTheGiver, IdempotencyKeyReused, QuotaUsedUp)
BACKUPS = [backup_id(number) for number in range(1, 4)]


async def hammer(
    store: Store, random: random.Random, changes: int, ends: Sequence[int | None] = (None,)
) -> list[Sharing]:
    """Make random changes of a few backups; return the acknowledged sharings, as they were at that time.

    ``ends``: times from which the end of each new sharing is drawn.
    """
    acknowledged: list[Sharing] = []
    for number in range(changes):
        about, at = random.choice(BACKUPS), cause(NOW + number)
        with_key = key(f"key-{random.randrange(20)}", about.encode()) if random.random() < 0.3 else None
        known = [sharing.id for sharing in acknowledged if sharing.deleted_at is None] or ["none"]
        match random.randrange(20):
            case 0:
                call = store.cancel_all(cancel_all(about, because=at))
            case 1:
                call = store.remove_backup(RemoveBackup(about, at))
            case 2 | 3:
                await store.put_backup(PutBackup(backup(about, name=str(number)), at))
                continue
            case 4 | 5 | 6 | 7:
                call = store.cancel(cancel(random.choice(known), because=at))
            case _:
                to = random.sample([project_id(n) for n in range(12)], random.randrange(1, 4))
                most, end = 10 * random.randrange(2), random.choice(ends)
                call = store.share(
                    share(*to, backup_id=about, because=at, idempotency=with_key, max_active=most, expires_at=end)
                )
        with suppress(*REFUSALS):
            acknowledged += await call
    return acknowledged
