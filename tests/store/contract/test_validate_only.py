"""The contract of ``validate_only``, on every engine: every check is made, and nothing is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotAvailable,
    BackupNotFound,
    Failure,
    IdempotencyKeyReused,
    InvalidArgument,
    NotTheGiver,
    QuotaUsedUp,
    SharingNotFound,
)
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Cancel, CancelAll, OnConflict, PutBackup, Share
from backup_sharing.store.interface import Store
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
    cancel_all,
    cause,
    key,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

END = NOW + 10 * SECOND
REUSED = key("used", b"another")


@pytest.fixture
async def shared(store: Store, engine: Engine) -> AsyncIterator[Store]:
    """Yield a store with two sharings, one of which is due; fail if the test stores anything."""
    await store.share(share(OTHER, sharing_ids=["due"], expires_at=END))
    await store.share(share(RECIPIENT, sharing_ids=["first"], idempotency=key("used")))
    engine.now = END
    before = engine.history(), engine.events(), engine._rows("SELECT key FROM idempotency_keys")
    yield store
    assert (engine.history(), engine.events(), engine._rows("SELECT key FROM idempotency_keys")) == before


async def test_share_answers_new_sharings_without_an_id(shared: Store) -> None:
    answer = await shared.share(share(OTHER, STRANGER, expires_at=END + 1, validate_only=True, idempotency=key()))
    assert list(answer) == [
        Sharing("", BACKUP_ID, GIVER, OTHER, NOW, expires_at=END + 1),
        Sharing("", BACKUP_ID, GIVER, STRANGER, NOW, expires_at=END + 1),
    ]


async def test_share_answers_existing_sharings_as_they_are(shared: Store) -> None:
    asked = share(RECIPIENT, OTHER, on_conflict=OnConflict.RETURN, validate_only=True)
    assert [sharing.id for sharing in await shared.share(asked)] == ["first", ""]


async def test_share_answers_the_first_result_of_its_key(shared: Store) -> None:
    (again,) = await shared.share(share(idempotency=key("used"), validate_only=True))
    assert again.id == "first"


SHARES: list[tuple[Share, type[Failure]]] = [
    (share(backup_id=backup_id(404)), BackupNotFound),
    (share(idempotency=REUSED), IdempotencyKeyReused),
    (share(STRANGER, expires_at=END), InvalidArgument),
    (share(RECIPIENT, STRANGER), AlreadyShared),
    (share(STRANGER, max_active=1), QuotaUsedUp),
]


@pytest.mark.parametrize(("asked", "failure"), SHARES)
async def test_share_makes_every_check(shared: Store, asked: Share, failure: type[Failure]) -> None:
    with pytest.raises(failure):
        await shared.share(replace(asked, validate_only=True))


async def test_share_finds_conflicts_also_if_nothing_is_due(store: Store) -> None:
    await store.share(share())
    with pytest.raises(AlreadyShared):
        await store.share(share(validate_only=True))


async def test_share_checks_the_state_of_the_backup(store: Store) -> None:
    await store.put_backup(PutBackup(backup(status="error"), cause()))
    with pytest.raises(BackupNotAvailable):
        await store.share(share(validate_only=True))


async def test_cancel_answers_the_sharing_as_it_would_be(shared: Store) -> None:
    before = (await shared.get_sharing(GIVER, "first")).sharing
    at = NOW + SECOND
    answer = await shared.cancel(cancel("first", validate_only=True, idempotency=key()))
    assert list(answer) == [before._replace(updated_at=at, deleted_at=at)]


CANCELS: list[tuple[Cancel, type[Failure]]] = [
    (cancel("due"), SharingNotFound),
    (cancel("first", STRANGER), SharingNotFound),
    (cancel("first", RECIPIENT), NotTheGiver),
    (cancel("first", idempotency=REUSED), IdempotencyKeyReused),
]


@pytest.mark.parametrize(("asked", "failure"), CANCELS)
async def test_cancel_makes_every_check(shared: Store, asked: Cancel, failure: type[Failure]) -> None:
    with pytest.raises(failure):
        await shared.cancel(replace(asked, validate_only=True))


async def test_cancel_all_answers_the_active_sharings_only(shared: Store) -> None:
    answer = await shared.cancel_all(cancel_all(validate_only=True, idempotency=key()))
    assert [(sharing.id, sharing.deleted_at) for sharing in answer] == [("first", NOW + SECOND)]


CANCEL_ALLS: list[tuple[CancelAll, type[Failure]]] = [
    (cancel_all(backup_id(404)), BackupNotFound),
    (cancel_all(project_id=RECIPIENT), BackupNotFound),
    (cancel_all(idempotency=REUSED), IdempotencyKeyReused),
]


@pytest.mark.parametrize(("asked", "failure"), CANCEL_ALLS)
async def test_cancel_all_makes_every_check(shared: Store, asked: CancelAll, failure: type[Failure]) -> None:
    with pytest.raises(failure):
        await shared.cancel_all(replace(asked, validate_only=True))
