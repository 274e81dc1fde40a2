"""The contract of every store for backups, on every engine."""

from __future__ import annotations

import pytest

from backup_sharing.errors import BackupNotFound, BackupOwnerFixed, SharingNotFound
from backup_sharing.model import Backup
from backup_sharing.rules.commands import PutBackup, RemoveBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    BACKUP_ID,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    backup,
    backup_id,
    cause,
    given,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

WHOLE = Backup(
    id=BACKUP_ID,
    project_id=GIVER,
    status="available",
    name="Größe \U0001f4be\0",
    volume_id="volume",
    availability_zone="eu-de-01",
    size=2**31 - 1,
    object_count=0,
    container="container",
    description="",
    fail_reason="none",
    snapshot_id="snapshot",
    service_metadata='{"a": 1}',
    is_incremental=True,
    has_dependent_backups=False,
    created_at=-1,
    data_timestamp=NOW,
    updated_at=NOW + 1,
)


@pytest.mark.parametrize("stored", [WHOLE, backup()], ids=["every member", "no more than it must"])
async def test_a_backup_is_answered_as_it_was_put(empty_store: Store, stored: Backup) -> None:
    assert await empty_store.put_backup(PutBackup(stored, cause())) == stored
    answered = await empty_store.get_backup(stored.id)
    assert answered == stored
    assert answered.is_incremental is stored.is_incremental
    await empty_store.share(share(sharing_ids=["1"]))
    assert (await empty_store.get_sharing(GIVER, "1")).backup == stored


async def test_put_backup_replaces_every_member(store: Store) -> None:
    await store.put_backup(PutBackup(WHOLE, cause()))
    await store.put_backup(PutBackup(backup(), cause()))
    assert await store.get_backup(BACKUP_ID) == backup()


async def test_the_sharings_must_stand_whatever_the_backups_status(store: Store) -> None:
    (sharing,) = await store.share(share())
    await store.put_backup(PutBackup(backup(status="deleting"), cause()))
    detail = await store.get_sharing(RECIPIENT, sharing.id)
    assert (detail.sharing, detail.backup.status) == (sharing, "deleting")


async def test_put_backup_of_another_project_must_raise_owner_fixed(store: Store) -> None:
    with pytest.raises(BackupOwnerFixed):
        await store.put_backup(PutBackup(backup(project_id=OTHER), cause()))
    assert await store.get_backup(BACKUP_ID) == backup()


async def test_putting_what_is_there_must_change_nothing_and_no_event(store: Store, engine: Engine) -> None:
    await store.put_backup(PutBackup(WHOLE, cause()))
    before = engine.events()
    assert await store.put_backup(PutBackup(WHOLE._replace(), cause())) == WHOLE
    assert engine.events() == before


async def test_get_backup_must_raise_not_found_for_an_unknown_one(store: Store) -> None:
    with pytest.raises(BackupNotFound):
        await store.get_backup(backup_id(404))


async def test_list_backups_answers_pages_by_id_of_one_project_or_all(empty_store: Store) -> None:
    for number in (3, 1, 4, 2):
        await empty_store.put_backup(PutBackup(backup(backup_id(number), OTHER if number == 4 else GIVER), cause()))
    first = await empty_store.list_backups(None, limit=3, after_id=None)
    assert ([found.id for found in first.items], first.more) == ([backup_id(n) for n in (1, 2, 3)], True)
    rest = await empty_store.list_backups(None, limit=3, after_id=first.items[-1].id)
    assert ([found.id for found in rest.items], rest.more) == ([backup_id(4)], False)
    own = await empty_store.list_backups(GIVER, limit=2, after_id=backup_id(1))
    assert ([found.id for found in own.items], own.more) == ([backup_id(2), backup_id(3)], False)


async def test_remove_backup_cancels_and_answers_its_sharings_at_once(store: Store, engine: Engine) -> None:
    shared = await store.share(share(RECIPIENT, OTHER, sharing_ids=["2", "1"]))
    at = NOW + SECOND
    removed = await store.remove_backup(RemoveBackup(BACKUP_ID, cause(at)))
    assert list(removed) == [sharing._replace(updated_at=at, deleted_at=at) for sharing in reversed(shared)]
    assert engine.history() == list(removed)
    assert await store.count_sharings(given()) == 0
    with pytest.raises(SharingNotFound):
        await store.get_sharing(GIVER, "1")
    with pytest.raises(BackupNotFound):
        await store.get_backup(BACKUP_ID)


async def test_remove_backup_must_raise_not_found_for_an_unknown_one(store: Store) -> None:
    with pytest.raises(BackupNotFound):
        await store.remove_backup(RemoveBackup(backup_id(404), cause()))


async def test_a_removed_backup_can_be_put_again_by_another_project(store: Store) -> None:
    await store.share(share())
    await store.remove_backup(RemoveBackup(BACKUP_ID, cause()))
    await store.put_backup(PutBackup(backup(project_id=OTHER), cause(project_id=OTHER)))
    assert list(await store.share(share(RECIPIENT, giver=OTHER)))
