"""The contract of every store for sharings that end by themselves, on every engine, with a clock that tests set."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotFound,
    InvalidArgument,
    NotTheGiver,
    QuotaUsedUp,
    SharingNotFound,
)
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import OnConflict, PutBackup, RemoveBackup
from backup_sharing.store.interface import SharingFilter, SortKey, Store, Swept
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
    given,
    key,
    page,
    project_id,
    recipients,
    share,
)
from tests.store.engines import Engine, Event

pytestmark = pytest.mark.asyncio

END = NOW + 10 * SECOND
LATER = END + 5 * SECOND
LATE = cause(LATER)
WHOSE = [
    given(),
    given(backup_id=BACKUP_ID),
    given(status="available"),
    given(to_project_id=RECIPIENT),
    SharingFilter(RECIPIENT, received=True),
    SharingFilter(RECIPIENT, received=True, backup_id=BACKUP_ID, from_project_id=GIVER),
]


def expired(sharing_id: str, to: str = RECIPIENT, at: int = END) -> Event:
    return Event("expired", at, BACKUP_ID, GIVER, sharing_id, to, "", "", "")


def event(kind: str, sharing_id: str, to: str) -> Event:
    return Event(kind, LATER, BACKUP_ID, GIVER, sharing_id, to, GIVER, "someone", "req-1")


def ended(sharing: Sharing) -> Sharing:
    return sharing._replace(updated_at=sharing.expires_at, deleted_at=sharing.expires_at)


@pytest.fixture
async def sharing(store: Store) -> Sharing:
    """Return a sharing, whose id is ``ends``, that ends at `END`."""
    (sharing,) = await store.share(share(sharing_ids=["ends"], expires_at=END))
    return sharing


async def shown(store: Store) -> list[Sharing | int]:
    """Return all sharings that get and lists show, and all counts except 0."""
    found: list[Sharing | int] = []
    for project in (GIVER, RECIPIENT):
        with suppress(SharingNotFound):
            found.append((await store.get_sharing(project, "ends")).sharing)
    pages = [page(key=sort, descending=down) for sort in SortKey for down in (False, True)]
    for one in (*pages, *(page(which) for which in WHOSE)):
        found += [item.sharing for item in (await store.list_sharings(one)).items]
    return found + [count for which in WHOSE if (count := await store.count_sharings(which))]


async def test_a_sharing_is_shown_with_its_end_until_then(store: Store, engine: Engine, sharing: Sharing) -> None:
    assert sharing.expires_at == END
    engine.now = END - 1
    assert await shown(store) == [sharing] * (2 + 2 * len(SortKey) + len(WHOSE)) + [1] * len(WHOSE)


async def test_no_read_may_show_or_count_a_due_sharing(store: Store, engine: Engine, sharing: Sharing) -> None:
    engine.now = END
    assert await shown(store) == []
    await store.end_due(10)
    assert await shown(store) == []
    assert engine.history() == [ended(sharing)]


async def test_others_are_listed_and_counted_beside_due_sharings(store: Store, engine: Engine) -> None:
    for number in range(6):
        end = END if number % 2 else None
        await store.share(
            share(project_id(number), sharing_ids=[str(number)], because=cause(NOW + number), expires_at=end)
        )
    engine.now = END
    assert await store.count_sharings(given()) == 3
    first = await store.list_sharings(page(limit=2))
    assert recipients(first) == [project_id(4), project_id(2)]
    assert first.more
    assert recipients(await store.list_sharings(page(offset=2))) == [project_id(0)]


async def test_a_due_sharing_is_no_conflict_and_ends_first(store: Store, engine: Engine, sharing: Sharing) -> None:
    with pytest.raises(AlreadyShared):
        await store.share(share())
    engine.now = LATER
    (again,) = await store.share(share(sharing_ids=["new"], because=LATE))
    assert again == Sharing("new", BACKUP_ID, GIVER, RECIPIENT, LATER)
    assert engine.history() == [ended(sharing), again]
    assert engine.events()[2:] == [expired("ends"), event("shared", "new", RECIPIENT)]


async def test_a_share_must_record_all_due_ends_of_its_backup(store: Store, engine: Engine, sharing: Sharing) -> None:
    await store.share(share(STRANGER, sharing_ids=["first"], expires_at=END - 1))
    await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
    await store.share(share(backup_id=backup_id(2), sharing_ids=["elsewhere"], expires_at=END))
    engine.now = LATER
    await store.share(share(OTHER, sharing_ids=["new"], because=LATE))
    assert engine.events()[5:] == [
        expired("first", STRANGER, END - 1),
        expired("ends"),
        event("shared", "new", OTHER),
    ]


async def test_a_share_that_fails_records_no_end(store: Store, engine: Engine, sharing: Sharing) -> None:
    await store.share(share(OTHER))
    before = engine.events()
    engine.now = LATER
    with pytest.raises(AlreadyShared) as raised:
        await store.share(share(RECIPIENT, OTHER, because=LATE))
    assert raised.value.project_ids == (OTHER,)
    assert engine.events() == before


async def test_due_sharings_do_not_count_for_the_quota(store: Store, engine: Engine, sharing: Sharing) -> None:
    with pytest.raises(QuotaUsedUp):
        await store.share(share(OTHER, max_active=1))
    engine.now = END
    await store.share(share(OTHER, max_active=1))
    with pytest.raises(QuotaUsedUp):
        await store.share(share(RECIPIENT, max_active=1))


async def test_shares_made_together_end_a_due_sharing_once(store: Store, engine: Engine, sharing: Sharing) -> None:
    engine.now = LATER
    calls = [store.share(share(RECIPIENT, because=LATE, max_active=1)) for _ in range(20)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, AlreadyShared) for outcome in outcomes) == 19
    assert [event.kind for event in engine.events()] == ["backup_put", "shared", "expired", "shared"]


async def test_a_new_sharing_must_end_later_than_now(store: Store, engine: Engine) -> None:
    for end in (NOW, NOW - 1):
        with pytest.raises(InvalidArgument) as raised:
            await store.share(share(expires_at=end))
        assert [violation.field for violation in raised.value.violations] == ["expire_time"]
    assert engine.history() == []
    await store.share(share(expires_at=NOW + 1))


async def test_an_existing_sharing_must_keep_its_end(store: Store, engine: Engine, sharing: Sharing) -> None:
    asked = share(OTHER, RECIPIENT, on_conflict=OnConflict.RETURN, sharing_ids=["new", "unused"], expires_at=LATER)
    new, existing = await store.share(asked)
    assert (new.expires_at, existing) == (LATER, sharing)
    assert (await store.get_sharing(GIVER, "ends")).sharing == sharing
    engine.now = END
    _, again = await store.share(replace(asked, sharing_ids=["unused", "again"]))
    assert (again.id, again.expires_at) == ("again", LATER)


async def test_cancel_of_a_due_sharing_must_raise_not_found(store: Store, engine: Engine, sharing: Sharing) -> None:
    engine.now = END
    for project in (GIVER, RECIPIENT, STRANGER):
        with pytest.raises(SharingNotFound):
            await store.cancel(cancel("ends", project))
    engine.now = END - 1
    with pytest.raises(NotTheGiver):
        await store.cancel(cancel("ends", RECIPIENT))
    assert await store.cancel(cancel("ends"))


async def test_cancel_all_must_record_due_ends_not_return_them(store: Store, engine: Engine, sharing: Sharing) -> None:
    (other,) = await store.share(share(OTHER, sharing_ids=["other"]))
    engine.now = LATER
    cancelled = other._replace(updated_at=LATER, deleted_at=LATER)
    assert list(await store.cancel_all(cancel_all(because=LATE))) == [cancelled]
    assert engine.history() == [ended(sharing), cancelled]
    assert engine.events()[3:] == [expired("ends"), event("cancelled", "other", OTHER)]


async def test_remove_must_record_due_ends_not_return_them(store: Store, engine: Engine, sharing: Sharing) -> None:
    engine.now = LATER
    assert list(await store.remove_backup(RemoveBackup(BACKUP_ID, LATE))) == []
    assert engine.history() == [ended(sharing)]
    assert [event.kind for event in engine.events()[2:]] == ["expired", "backup_removed"]
    assert await store.end_due(10) == Swept(0, None)


async def test_the_first_answer_must_come_again_after_the_end(store: Store, engine: Engine) -> None:
    asked = share(sharing_ids=["first"], expires_at=END, idempotency=key())
    first = await store.share(asked)
    engine.now = LATER
    again = replace(asked, sharing_ids=["second"], unless_repeated=BackupNotFound("not raised for a repetition"))
    assert await store.share(again) == first
    with pytest.raises(BackupNotFound):
        await store.share(replace(again, idempotency=key("another")))
    assert len(engine.history()) == 1


async def test_a_stored_answer_without_an_end_is_as_it_was(store: Store, engine: Engine) -> None:
    first = await store.share(share(idempotency=key()))
    ((answer,),) = engine._rows("SELECT answer FROM idempotency_keys")
    assert "expires_at" not in answer
    assert await store.share(share(idempotency=key())) == first


async def test_end_due_must_record_each_end_once_at_its_time(store: Store, engine: Engine, sharing: Sharing) -> None:
    (other,) = await store.share(share(OTHER, sharing_ids=["other"], expires_at=LATER))
    await store.share(share(STRANGER, sharing_ids=["for ever"]))
    assert await store.end_due(10) == Swept(0, END - NOW)
    engine.now = END + 1
    assert await store.end_due(10) == Swept(1, LATER - END - 1)
    assert await store.end_due(10) == Swept(0, LATER - END - 1)
    engine.now = LATER
    assert await store.end_due(10) == Swept(1, None)
    assert engine.events()[4:] == [expired("ends"), expired("other", OTHER, LATER)]
    assert [row for row in engine.history() if row.deleted_at] == [ended(sharing), ended(other)]


async def test_end_due_must_stop_at_its_limit(store: Store, engine: Engine) -> None:
    await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
    for number in range(5):
        of = backup_id(1 + number % 2)
        await store.share(share(project_id(number), backup_id=of, sharing_ids=[str(number)], expires_at=END + number))
    engine.now = LATER
    assert await store.end_due(3) == Swept(3, END + 3 - LATER)
    assert {event.sharing_id for event in engine.events() if event.kind == "expired"} == {"0", "1", "2"}
    assert await store.end_due(3) == Swept(2, None)


async def test_stores_that_end_due_sharings_at_once_share_them(store: Store, engine: Engine) -> None:
    for number in range(4):
        await store.put_backup(PutBackup(backup(backup_id(number)), cause()))
        await store.share(share(*map(project_id, range(5)), backup_id=backup_id(number), expires_at=END))
    engine.now = END
    stores = [store, await engine.open(), await engine.open()]
    swept = await asyncio.gather(*(each.end_due(100) for each in stores for _ in range(3)))
    assert sum(each.ended for each in swept) == 20
    events = [event.sharing_id for event in engine.events() if event.kind == "expired"]
    assert len(events) == len(set(events)) == 20


async def test_ends_are_recorded_beside_shares_of_the_backup(store: Store, engine: Engine) -> None:
    await store.share(share(*map(project_id, range(10)), expires_at=END))
    engine.now = END
    other = await engine.open()
    await asyncio.gather(
        *(other.end_due(100) for _ in range(5)),
        *(store.share(share(project_id(number))) for number in range(10)),
    )
    kinds = [event.kind for event in engine.events()]
    assert (kinds.count("expired"), kinds.count("shared")) == (10, 20)
    assert await store.count_sharings(given()) == 10


async def test_an_end_must_survive_a_reopening(store: Store, engine: Engine, sharing: Sharing) -> None:
    await store.close()
    again = await engine.open()
    assert (await again.get_sharing(GIVER, "ends")).sharing == sharing
    engine.now = END
    with pytest.raises(SharingNotFound):
        await again.get_sharing(GIVER, "ends")
