"""The contract of every store for all its calls, on every engine."""

from __future__ import annotations

import asyncio
import time

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotFound,
    DeadlineTooClose,
    Overloaded,
    StoredDataUnreadable,
    Unavailable,
)
from backup_sharing.rules.commands import Cause, PutBackup, RemoveBackup
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
    every_call,
    given,
    key,
    page,
    project_id,
    share,
)
from tests.store.engines import Engine, Event
from tests.support.programs import PATIENCE

pytestmark = pytest.mark.asyncio


def passed() -> float:
    return time.monotonic() - 0.001


async def test_an_acknowledged_change_must_survive_a_reopening(store: Store, engine: Engine) -> None:
    (sharing,) = await store.share(share())
    await store.close()
    again = await engine.open()
    assert (await again.get_sharing(GIVER, sharing.id)).sharing == sharing


async def test_a_change_must_write_its_events_in_its_own_transaction(store: Store, engine: Engine) -> None:
    asked = Cause("admin", "ann", "req-9", NOW + SECOND)
    await store.share(share(OTHER, RECIPIENT, STRANGER, sharing_ids=["3", "2", "1"], because=asked))
    await store.cancel(cancel("3", because=asked))
    await store.cancel_all(cancel_all(because=asked))
    await store.share(share(RECIPIENT, sharing_ids=["4"], because=asked))
    await store.remove_backup(RemoveBackup(BACKUP_ID, asked))

    def event(kind: str, sharing_id: str | None = None, to: str | None = None) -> Event:
        return Event(kind, NOW + SECOND, BACKUP_ID, GIVER, sharing_id, to, "admin", "ann", "req-9")

    put = Event("backup_put", NOW, BACKUP_ID, GIVER, None, None, GIVER, "someone", "req-1")
    assert engine.events() == [
        put,
        event("shared", "3", OTHER),
        event("shared", "2", RECIPIENT),
        event("shared", "1", STRANGER),
        event("cancelled", "3", OTHER),
        event("cancelled", "1", STRANGER),
        event("cancelled", "2", RECIPIENT),
        event("shared", "4", RECIPIENT),
        event("cancelled", "4", RECIPIENT),
        event("backup_removed"),
    ]


async def test_a_change_must_not_begin_to_commit_after_commit_by(store: Store, engine: Engine) -> None:
    (sharing,) = await store.share(share(OTHER))
    before = engine.events()
    late = cause(commit_by=passed())
    for change in (
        store.share(share(because=late)),
        store.cancel(cancel(sharing.id, because=late)),
        store.cancel_all(cancel_all(because=late)),
        store.put_backup(PutBackup(backup(status="error"), late)),
        store.remove_backup(RemoveBackup(BACKUP_ID, late)),
    ):
        with pytest.raises(DeadlineTooClose):
            await change
    assert engine.events() == before


async def test_a_change_waiting_for_a_lock_must_raise_at_its_deadline(store: Store, engine: Engine) -> None:
    patient = await engine.open(busy_timeout=600.0)
    with engine.locked():
        began = time.monotonic()
        with pytest.raises(DeadlineTooClose):
            await patient.share(share(because=cause(commit_by=began + 0.1)))
        assert time.monotonic() - began < PATIENCE
    assert await store.count_sharings(given()) == 0


async def test_a_late_change_must_not_touch_those_made_with_it(store: Store) -> None:
    calls = [
        store.share(share(project_id(number), because=cause(commit_by=passed() if number % 3 == 0 else None)))
        for number in range(30)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, DeadlineTooClose) for outcome in outcomes] == [n % 3 == 0 for n in range(30)]
    assert await store.count_sharings(given()) == 20


async def test_a_change_cancelled_before_its_turn_must_not_be_made(store: Store, engine: Engine) -> None:
    with engine.locked():
        given_up = asyncio.create_task(store.share(share(RECIPIENT)))
        kept = asyncio.create_task(store.share(share(OTHER)))
        await asyncio.sleep(0.05)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    await kept
    await store.share(share(STRANGER))
    assert {sharing.to_project_id for sharing in engine.history()} == {OTHER, STRANGER}


async def test_an_acknowledged_change_must_be_seen_by_later_reads(store: Store, engine: Engine) -> None:
    other = await engine.open()
    for number in range(30):
        writer, reader = (store, other) if number % 2 else (other, store)
        (sharing,) = await writer.share(share(project_id(number)))
        assert (await reader.get_sharing(GIVER, sharing.id)).sharing == sharing
        assert await writer.count_sharings(given()) == number + 1
        assert len((await reader.list_sharings(page())).items) == number + 1


async def test_an_acknowledged_change_must_be_seen_by_later_changes(store: Store, engine: Engine) -> None:
    other = await engine.open()
    await store.share(share(RECIPIENT))
    with pytest.raises(AlreadyShared):
        await other.share(share(RECIPIENT))


async def test_one_failing_change_must_not_touch_those_made_with_it(store: Store, engine: Engine) -> None:
    calls = [
        store.share(share(project_id(number), OTHER if number == 20 else RECIPIENT + str(number)))
        for number in range(40)
    ]
    calls.insert(7, store.share(share(backup_id=backup_id(404))))
    calls.append(store.share(share(STRANGER, project_id(20))))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [type(failure) for failure in failed] == [BackupNotFound, AlreadyShared]
    assert await store.count_sharings(given()) == 80
    assert len([event for event in engine.events() if event.kind == "shared"]) == 80


async def test_more_changes_than_the_store_takes_must_raise_overloaded(engine: Engine) -> None:
    store = await engine.open(max_waiting=5)
    await store.put_backup(PutBackup(backup(), cause()))
    with engine.locked():
        under_way = asyncio.create_task(store.share(share(STRANGER)))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(store.share(share(project_id(number)))) for number in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await store.share(share(OTHER))
        assert await store.count_sharings(given()) == 0
    await asyncio.gather(under_way, *waiting)
    assert await store.count_sharings(given()) == 6


async def test_a_store_that_is_locked_must_raise_unavailable(store: Store, engine: Engine) -> None:
    impatient = await engine.open(busy_timeout=0.1)
    with engine.locked():
        calls = [impatient.share(share(project_id(number))) for number in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert await store.count_sharings(given()) == 0


async def test_a_lock_that_is_let_go_in_time_must_fail_no_change(store: Store, engine: Engine) -> None:
    with engine.locked():
        change = asyncio.create_task(store.share(share()))
        await asyncio.sleep(0.3)
        assert not change.done()
    await change


async def test_unreadable_data_must_raise_stored_data_unreadable(store: Store, engine: Engine) -> None:
    await store.share(share())
    await store.close()
    engine.spoil()
    spoilt = await engine.open()
    for call in (
        spoilt.get_backup(BACKUP_ID),
        spoilt.list_sharings(page()),
        spoilt.share(share(OTHER)),
        spoilt.put_backup(PutBackup(backup(), cause())),
    ):
        with pytest.raises(StoredDataUnreadable):
            await call


async def test_ping_returns_if_the_store_can_be_read_and_written(store: Store) -> None:
    await store.ping()


async def test_ping_must_raise_unavailable_within_a_second_if_locked(store: Store, engine: Engine) -> None:
    patient = await engine.open(busy_timeout=600.0)
    with engine.locked():
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await patient.ping()
        assert time.monotonic() - began < PATIENCE
    await patient.ping()


async def test_calls_after_close_must_raise_unavailable(store: Store) -> None:
    await store.close()
    await store.close()
    for call in every_call(store):
        with pytest.raises(Unavailable):
            await call


async def test_close_finishes_the_commit_and_fails_what_waits(store: Store, engine: Engine) -> None:
    with engine.locked():
        under_way = asyncio.create_task(store.share(share(RECIPIENT, idempotency=key())))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(store.share(share(OTHER)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0.05)
    await under_way
    with pytest.raises(Unavailable):
        await waiting
    await closing
    assert [sharing.to_project_id for sharing in engine.history()] == [RECIPIENT]
