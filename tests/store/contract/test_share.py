"""The contract of `Store.share`, on every engine."""

from __future__ import annotations

import asyncio

import pytest

from backup_sharing.errors import AlreadyShared, BackupNotAvailable, BackupNotFound, IdempotencyKeyReused, QuotaUsedUp
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import OnConflict, PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    BACKUP_ID,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    STRANGER,
    backup,
    backup_id,
    cancel,
    cause,
    given,
    key,
    page,
    project_id,
    recipients,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio


async def test_share_answers_one_sharing_a_recipient_in_their_order(store: Store) -> None:
    shared = await store.share(share(STRANGER, RECIPIENT, OTHER, sharing_ids=["3", "1", "2"]))
    assert list(shared) == [
        Sharing("3", BACKUP_ID, "a" * 32, STRANGER, NOW),
        Sharing("1", BACKUP_ID, "a" * 32, RECIPIENT, NOW),
        Sharing("2", BACKUP_ID, "a" * 32, OTHER, NOW),
    ]


async def test_share_with_a_thousand_recipients_stores_them_all(store: Store, engine: Engine) -> None:
    wanted = [project_id(number) for number in range(1000)]
    shared = await store.share(share(*wanted))
    assert [sharing.to_project_id for sharing in shared] == wanted
    assert sorted(engine.history(), key=lambda s: s.to_project_id) == list(shared)
    assert [event.to_project_id for event in engine.events() if event.kind == "shared"] == wanted


async def test_share_must_raise_backup_not_found_for_an_unknown_backup(store: Store) -> None:
    with pytest.raises(BackupNotFound):
        await store.share(share(backup_id=backup_id(404)))


async def test_share_of_anothers_backup_must_raise_backup_not_found(store: Store) -> None:
    with pytest.raises(BackupNotFound):
        await store.share(share(RECIPIENT, giver=OTHER))


async def test_share_must_raise_not_available_unless_it_is_available(store: Store) -> None:
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    with pytest.raises(BackupNotAvailable, match="'error'"):
        await store.share(share())


async def test_share_must_raise_already_shared_naming_the_recipients(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT, OTHER))
    with pytest.raises(AlreadyShared) as raised:
        await store.share(share(OTHER, STRANGER, RECIPIENT))
    assert raised.value.project_ids == (OTHER, RECIPIENT)
    assert len(engine.history()) == 2


async def test_share_must_answer_active_sharings_when_asked_to(store: Store, engine: Engine) -> None:
    (existing,) = await store.share(share(OTHER))
    shared = await store.share(
        share(RECIPIENT, OTHER, on_conflict=OnConflict.RETURN, because=cause(NOW + SECOND), sharing_ids=["x", "y"])
    )
    assert list(shared) == [Sharing("x", BACKUP_ID, "a" * 32, RECIPIENT, NOW + SECOND), existing]
    assert [event.to_project_id for event in engine.events() if event.kind == "shared"] == [OTHER, RECIPIENT]


async def test_share_must_raise_quota_used_up_beyond_max_active(store: Store, engine: Engine) -> None:
    await store.share(share(RECIPIENT, max_active=2))
    with pytest.raises(QuotaUsedUp):
        await store.share(share(OTHER, STRANGER, max_active=2))
    assert len(engine.history()) == 1
    await store.share(share(OTHER, max_active=2))


async def test_share_counts_active_and_new_sharings_to_the_quota(store: Store) -> None:
    first, _ = await store.share(share(RECIPIENT, OTHER, max_active=2))
    await store.share(share(RECIPIENT, OTHER, max_active=1, on_conflict=OnConflict.RETURN))
    await store.cancel(cancel(first.id))
    await store.share(share(STRANGER, max_active=2))


async def test_share_checks_backup_key_status_conflict_then_quota(store: Store) -> None:
    await store.share(share(RECIPIENT, idempotency=key()))
    reused = key(fingerprint=b"another")
    with pytest.raises(AlreadyShared):
        await store.share(share(RECIPIENT, OTHER, max_active=1))
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    with pytest.raises(BackupNotAvailable):
        await store.share(share(RECIPIENT, max_active=1))
    with pytest.raises(IdempotencyKeyReused):
        await store.share(share(RECIPIENT, idempotency=reused))
    with pytest.raises(BackupNotFound):
        await store.share(share(backup_id=backup_id(404), idempotency=reused))


async def test_a_recipient_after_a_cancel_must_get_a_new_id(store: Store, engine: Engine) -> None:
    (first,) = await store.share(share())
    await store.cancel(cancel(first.id))
    (second,) = await store.share(share())
    assert second.id != first.id
    assert {sharing.id for sharing in engine.history()} == {first.id, second.id}


async def test_a_share_that_fails_stores_nothing_for_any_recipient(store: Store, engine: Engine) -> None:
    await store.share(share(OTHER))
    before = engine.events()
    with pytest.raises(AlreadyShared):
        await store.share(share(RECIPIENT, OTHER, STRANGER))
    assert recipients(await store.list_sharings(page())) == [OTHER]
    assert engine.events() == before


async def test_of_fifty_identical_shares_at_once_one_succeeds(store: Store, engine: Engine) -> None:
    calls = [store.share(share(RECIPIENT, OTHER)) for _ in range(50)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, AlreadyShared) for outcome in outcomes) == 49
    assert await store.count_sharings(given()) == 2
    assert len(engine.history()) == 2
    assert len([event for event in engine.events() if event.kind == "shared"]) == 2
