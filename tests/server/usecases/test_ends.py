"""Sharings that end by themselves, and calls that only check, as use cases on a real store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotFound,
    IdempotencyKeyReused,
    InvalidArgument,
    SharingNotFound,
)
from backup_sharing.rules.commands import OnConflict
from backup_sharing.usecases.sharing import Caller, ShareRequest, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    UNKNOWN,
    Clock,
    cancel,
    filtered,
    page,
    share,
)

DAY = 24 * 3600 * SECOND
END = NOW + 10 * SECOND


def ending(*to: str, at: int | None = END, key: str | None = None, **members: object) -> ShareRequest:
    return replace(share(*to, key=key), expires_at=at, **members)  # type: ignore[arg-type]  # keyword members


@pytest.fixture
def limited(sharings: Sharings) -> Sharings:
    """Return the use cases with a maximum lifetime of seven days."""
    return replace(sharings, limits=replace(sharings.limits, max_lifetime=7 * DAY))


async def test_a_sharing_is_shown_with_its_end_until_then(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    (given,) = await sharings.share(caller, ending())
    assert given.expires_at == END
    clock.pass_(9.999999)
    assert (await sharings.get(GIVER, given.id)).sharing == given
    clock.pass_(0.000001)
    with pytest.raises(SharingNotFound):
        await sharings.get(GIVER, given.id)
    assert await sharings.count(filtered()) == 0
    assert list((await sharings.list(page()))[0].items) == []


@pytest.mark.parametrize("at", [NOW, NOW - 1, -62_135_596_800 * SECOND])
async def test_an_end_that_is_not_in_the_future_is_refused(sharings: Sharings, caller: Caller, at: int) -> None:
    with pytest.raises(
        InvalidArgument, match=r"expire_time is incorrect: .*; expected is a time after 2023-"
    ) as refused:
        await sharings.share(caller, ending(at=at))
    assert [violation.field for violation in refused.value.violations] == ["expire_time"]


async def test_a_wrong_end_is_told_with_the_other_violations(sharings: Sharings, caller: Caller) -> None:
    for key in (None, "k"):
        with pytest.raises(InvalidArgument) as refused:
            await sharings.share(caller, ending("a b", at=NOW, key=key))
        named = [violation.field for violation in refused.value.violations]
        assert named == ["shared.to_project_ids[0]", "expire_time"]


async def test_an_end_beyond_the_limit_is_refused(limited: Sharings, caller: Caller) -> None:
    for key in (None, "k"):
        with pytest.raises(InvalidArgument, match="expected is a time until 2023-11-21T22:13:20Z") as refused:
            await limited.share(caller, ending(at=NOW + 7 * DAY + 1, key=key))
        assert [violation.field for violation in refused.value.violations] == ["expire_time"]
    (given,) = await limited.share(caller, ending(at=NOW + 7 * DAY))
    assert given.expires_at == NOW + 7 * DAY


async def test_a_share_without_an_end_gets_that_of_the_limit(limited: Sharings, caller: Caller) -> None:
    (given,) = await limited.share(caller, share())
    assert given.expires_at == NOW + 7 * DAY


async def test_a_share_without_an_end_or_limit_has_none(sharings: Sharings, caller: Caller) -> None:
    (given,) = await sharings.share(caller, share())
    assert given.expires_at is None


async def test_an_existing_sharing_keeps_its_end(limited: Sharings, caller: Caller, clock: Clock) -> None:
    (first,) = await limited.share(caller, ending())
    clock.pass_(5)
    for request in (share(), ending(at=END + DAY)):
        (again,) = await limited.share(caller, replace(request, on_conflict=OnConflict.RETURN))
        assert again == first


async def test_sharing_again_after_the_end_is_no_conflict(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    (first,) = await sharings.share(caller, ending())
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share())
    clock.pass_(10)
    (second,) = await sharings.share(caller, share())
    assert second.id != first.id


async def test_a_retry_gives_the_first_answer_after_the_end(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    first = await sharings.share(caller, ending(key="k"))
    clock.pass_(60)
    assert await sharings.share(caller, ending(key="k")) == first
    with pytest.raises(InvalidArgument):
        await sharings.share(caller, ending(key="another"))
    with pytest.raises(InvalidArgument):
        await sharings.share(caller, ending())


async def test_an_unknown_backup_is_told_before_a_late_end(sharings: Sharings, caller: Caller) -> None:
    with pytest.raises(BackupNotFound):
        await sharings.share(caller, replace(share(of=UNKNOWN, key="k"), expires_at=NOW))


async def test_a_retry_gives_the_first_answer_under_a_new_limit(sharings: Sharings, caller: Caller) -> None:
    first = await sharings.share(caller, ending(key="k", at=NOW + 9 * DAY))
    endless = await sharings.share(caller, share(OTHER, key="endless"))
    limited = replace(sharings, limits=replace(sharings.limits, max_lifetime=DAY))
    assert await limited.share(caller, ending(key="k", at=NOW + 9 * DAY)) == first
    assert await limited.share(caller, share(OTHER, key="endless")) == endless


@pytest.mark.parametrize(("one", "other"), [(END, END + 1), (END, None), (None, END)])
async def test_a_key_belongs_to_one_end(sharings: Sharings, caller: Caller, one: int | None, other: int | None) -> None:
    await sharings.share(caller, ending(at=one, key="k"))
    with pytest.raises(IdempotencyKeyReused):
        await sharings.share(caller, ending(at=other, key="k"))


async def test_a_share_that_only_checks_stores_nothing(sharings: Sharings, caller: Caller) -> None:
    for _ in range(2):
        (given,) = await sharings.share(caller, ending(key="k", validate_only=True))
        assert (given.id, given.expires_at, given.to_project_id) == ("", END, RECIPIENT)
    assert await sharings.count(filtered()) == 0
    (stored,) = await sharings.share(caller, ending(key="k"))
    assert stored.id
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, ending(validate_only=True))


@pytest.mark.parametrize("is_backup_id", [False, True])
async def test_a_cancel_that_only_checks_stores_nothing(sharings: Sharings, caller: Caller, is_backup_id: bool) -> None:
    (given,) = await sharings.share(caller, share())
    request = cancel(BACKUP if is_backup_id else given.id, is_backup_id=is_backup_id)
    (ended,) = await sharings.cancel(caller, replace(request, validate_only=True))
    assert ended == given._replace(updated_at=NOW, deleted_at=NOW)
    assert await sharings.count(filtered()) == 1
    with pytest.raises((SharingNotFound, BackupNotFound)):
        await sharings.cancel(caller, replace(request, id=UNKNOWN, validate_only=True))
