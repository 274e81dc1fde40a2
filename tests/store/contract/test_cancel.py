"""The contract of `Store.cancel` and `Store.cancel_all`, on every engine."""

from __future__ import annotations

import pytest

from backup_sharing.errors import BackupNotFound, IdempotencyKeyReused, NotTheGiver, SharingNotFound
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    STRANGER,
    backup,
    backup_id,
    cancel,
    cancel_all,
    cause,
    key,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

LATER = NOW + SECOND


async def test_cancel_must_set_deleted_at_and_updated_at_to_its_time(store: Store) -> None:
    (sharing,) = await store.share(share())
    ended = await store.cancel(cancel(sharing.id, because=cause(LATER)))
    assert list(ended) == [sharing._replace(updated_at=LATER, deleted_at=LATER)]


async def test_cancel_ends_one_sharing_and_leaves_the_others(store: Store) -> None:
    first, second = await store.share(share(RECIPIENT, OTHER))
    await store.cancel(cancel(first.id))
    assert (await store.get_sharing(GIVER, second.id)).sharing == second
    with pytest.raises(SharingNotFound):
        await store.get_sharing(GIVER, first.id)


async def test_cancel_of_an_unknown_sharing_must_raise_not_found(store: Store) -> None:
    with pytest.raises(SharingNotFound):
        await store.cancel(cancel("unknown"))


async def test_cancel_of_a_cancelled_sharing_must_raise_not_found(store: Store) -> None:
    (sharing,) = await store.share(share())
    await store.cancel(cancel(sharing.id))
    with pytest.raises(SharingNotFound):
        await store.cancel(cancel(sharing.id))


async def test_cancel_between_other_projects_must_raise_not_found(store: Store) -> None:
    (sharing,) = await store.share(share())
    with pytest.raises(SharingNotFound):
        await store.cancel(cancel(sharing.id, project_id=STRANGER))


async def test_cancel_by_the_recipient_must_raise_not_the_giver(store: Store) -> None:
    (sharing,) = await store.share(share())
    with pytest.raises(NotTheGiver):
        await store.cancel(cancel(sharing.id, project_id=RECIPIENT))
    assert await store.get_sharing(RECIPIENT, sharing.id)


async def test_a_cancelled_row_must_stay_as_history(store: Store, engine: Engine) -> None:
    (sharing,) = await store.share(share())
    await store.cancel(cancel(sharing.id, because=cause(LATER)))
    assert engine.history() == [sharing._replace(updated_at=LATER, deleted_at=LATER)]


async def test_cancel_with_a_stored_answer_must_win_over_not_found(store: Store) -> None:
    (sharing,) = await store.share(share())
    first = await store.cancel(cancel(sharing.id, idempotency=key()))
    assert await store.cancel(cancel(sharing.id, because=cause(LATER + 5), idempotency=key())) == first


async def test_cancel_checks_sharing_then_giver_then_key(store: Store) -> None:
    first, second = await store.share(share(RECIPIENT, OTHER))
    await store.cancel(cancel(first.id, idempotency=key()))
    reused = key(fingerprint=b"another")
    with pytest.raises(SharingNotFound):
        await store.cancel(cancel(first.id, idempotency=reused))
    with pytest.raises(NotTheGiver):
        await store.cancel(cancel(second.id, project_id=OTHER, idempotency=reused))
    with pytest.raises(IdempotencyKeyReused):
        await store.cancel(cancel(second.id, idempotency=reused))


async def test_cancel_all_answers_every_active_sharing_by_id(store: Store) -> None:
    await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
    (elsewhere,) = await store.share(share(backup_id=backup_id(2)))
    shared = await store.share(share(OTHER, RECIPIENT, STRANGER, sharing_ids=["3", "1", "2"]))
    await store.cancel(cancel("2"))
    ended = await store.cancel_all(cancel_all(because=cause(LATER)))
    assert list(ended) == [
        shared[1]._replace(updated_at=LATER, deleted_at=LATER),
        shared[0]._replace(updated_at=LATER, deleted_at=LATER),
    ]
    assert await store.get_sharing(GIVER, elsewhere.id)


async def test_cancel_all_of_an_unknown_backup_must_raise_not_found(store: Store) -> None:
    with pytest.raises(BackupNotFound):
        await store.cancel_all(cancel_all(backup_id(404)))


async def test_cancel_all_of_anothers_backup_must_raise_not_found(store: Store) -> None:
    await store.share(share())
    with pytest.raises(BackupNotFound):
        await store.cancel_all(cancel_all(project_id=RECIPIENT))


async def test_cancel_all_must_answer_nothing_without_active_sharings(store: Store, engine: Engine) -> None:
    before = engine.events()
    assert list(await store.cancel_all(cancel_all())) == []
    assert engine.events() == before
