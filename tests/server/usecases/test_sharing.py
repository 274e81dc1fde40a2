"""The five calls as use cases, on a real store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotAvailable,
    BackupNotFound,
    DeadlineTooClose,
    InvalidArgument,
    NotTheGiver,
    QuotaUsedUp,
    SharingNotFound,
)
from backup_sharing.rules.commands import OnConflict
from backup_sharing.store.interface import SharingFilter, Store
from backup_sharing.usecases.sharing import Caller, ListRequest, ShareRequest, SharingLimits, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    NOW,
    OTHER,
    OUTSIDER,
    OUTSIDERS_BACKUP,
    RECIPIENT,
    SECOND_BACKUP,
    UNKNOWN,
    Clock,
    cancel,
    filtered,
    page,
    projects,
    share,
)

SetStatus = Callable[[str, str], Awaitable[None]]


def fields(refused: InvalidArgument) -> list[str]:
    return [violation.field for violation in refused.violations]


async def test_all_violations_of_a_share_are_told_at_once(sharings: Sharings, caller: Caller) -> None:
    request = share(GIVER, "a b", RECIPIENT, RECIPIENT, of="abc", by="no project", key="")
    with pytest.raises(InvalidArgument) as refused:
        await sharings.share(caller, request)
    assert fields(refused.value) == [
        "project_id",
        "idempotency_key",
        "shared.backup_id",
        "shared.to_project_ids[1]",
        "shared.to_project_ids[3]",
    ]


async def test_a_share_of_nothing_names_what_is_missing(sharings: Sharings, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.share(caller, ShareRequest(GIVER, None))
    assert fields(refused.value) == ["shared"]
    assert refused.value.message == "The value of shared is missing; an object is expected."


@pytest.mark.parametrize(("backup_id", "reason"), [("", "BACKUP_ID_MISSING"), ("abc", "BACKUP_ID_MALFORMED")])
async def test_a_bad_backup_id_has_its_own_reason(
    sharings: Sharings, caller: Caller, backup_id: str, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as by_share:
        await sharings.share(caller, share(of=backup_id))
    with pytest.raises(InvalidArgument) as by_cancel:
        await sharings.cancel(caller, cancel(backup_id, is_backup_id=True))
    assert by_share.value.specific_reason == by_cancel.value.specific_reason == reason


async def test_a_backup_is_not_shared_with_its_giver(sharings: Sharings, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.share(caller, share(RECIPIENT, GIVER))
    assert fields(refused.value) == ["shared.to_project_ids[1]"]


async def test_all_violations_of_a_cancel_are_told_at_once(sharings: Sharings, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.cancel(caller, cancel("abc", by="no project", key=""))
    assert fields(refused.value) == ["project_id", "idempotency_key", "id"]


async def test_all_violations_of_a_get_are_told_at_once(sharings: Sharings) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.get("no project", "abc")
    assert fields(refused.value) == ["project_id", "id"]


async def test_a_share_with_too_many_recipients_is_refused(sharings: Sharings, caller: Caller, store: Store) -> None:
    with pytest.raises(InvalidArgument):
        await sharings.share(caller, share(*projects(1001)))
    assert await store.count_sharings(SharingFilter(GIVER)) == 0


async def test_a_share_with_as_many_recipients_as_the_setting_is_made(sharings: Sharings, caller: Caller) -> None:
    given = await sharings.share(caller, share(*projects(1000)))
    assert [sharing.to_project_id for sharing in given] == projects(1000)


@pytest.mark.parametrize("backup_id", [UNKNOWN, OUTSIDERS_BACKUP])
async def test_foreign_and_missing_backups_are_refused_alike(
    sharings: Sharings, caller: Caller, backup_id: str
) -> None:
    with pytest.raises(BackupNotFound, match=f"Backup {backup_id} could not be found."):
        await sharings.share(caller, share(of=backup_id))


async def test_a_backup_that_is_not_available_cannot_be_shared(
    sharings: Sharings, caller: Caller, set_status: SetStatus
) -> None:
    await set_status(BACKUP, "error")
    with pytest.raises(BackupNotAvailable, match="'error'"):
        await sharings.share(caller, share())


async def test_sharing_twice_is_a_conflict_that_names_the_project(sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(RECIPIENT))
    with pytest.raises(AlreadyShared) as refused:
        await sharings.share(caller, share(OTHER, RECIPIENT))
    assert refused.value.message == f"Backup {BACKUP} is already shared with {RECIPIENT}."


async def test_a_conflict_of_one_recipient_shares_with_no_other(sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(RECIPIENT))
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share(OTHER, RECIPIENT))
    assert await sharings.count(filtered()) == 1


async def test_the_request_may_ask_for_standing_sharings_instead(sharings: Sharings, caller: Caller) -> None:
    [existing] = await sharings.share(caller, share(RECIPIENT))
    new, again = await sharings.share(caller, share(OTHER, RECIPIENT, on_conflict=OnConflict.RETURN))
    assert again == existing
    assert new.to_project_id == OTHER


async def test_the_setting_may_ask_for_standing_sharings_instead(sharings: Sharings, caller: Caller) -> None:
    sharings = replace(sharings, limits=SharingLimits(on_conflict=OnConflict.RETURN))
    assert await sharings.share(caller, share()) == await sharings.share(caller, share())


async def test_the_request_may_refuse_what_the_setting_would_return(sharings: Sharings, caller: Caller) -> None:
    sharings = replace(sharings, limits=SharingLimits(on_conflict=OnConflict.RETURN))
    await sharings.share(caller, share())
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share(on_conflict=OnConflict.REFUSE))


async def test_sharings_beyond_the_quota_are_refused_none_is_stored(sharings: Sharings, caller: Caller) -> None:
    sharings = replace(sharings, limits=SharingLimits(max_active=2))
    await sharings.share(caller, share(RECIPIENT))
    with pytest.raises(QuotaUsedUp):
        await sharings.share(caller, share(OTHER, OUTSIDER))
    assert await sharings.count(filtered()) == 1


async def test_a_quota_of_zero_is_none(sharings: Sharings, caller: Caller) -> None:
    sharings = replace(sharings, limits=SharingLimits(max_active=0))
    assert len(await sharings.share(caller, share(*projects(1000)))) == 1000


async def test_a_share_whose_deadline_is_too_close_stores_nothing(
    sharings: Sharings, caller: Caller, store: Store
) -> None:
    with pytest.raises(DeadlineTooClose):
        await sharings.share(replace(caller, commit_by=0.0), share())
    assert await store.count_sharings(SharingFilter(GIVER)) == 0


async def test_a_backup_id_in_upper_case_means_the_same(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share(of=BACKUP.upper()))
    assert given.backup_id == BACKUP


async def test_a_new_sharing_has_the_time_of_its_making_and_a_fresh_id(sharings: Sharings, caller: Caller) -> None:
    first, second = await sharings.share(caller, share(RECIPIENT, OTHER))
    assert (first.created_at, first.updated_at, first.deleted_at) == (NOW, None, None)
    assert first.id < second.id


@pytest.mark.parametrize("sharing_id", ["", "abc", "count"])
async def test_a_malformed_sharing_id_is_refused_wherever_it_is_named(
    sharings: Sharings, caller: Caller, sharing_id: str
) -> None:
    with pytest.raises(InvalidArgument) as by_get:
        await sharings.get(GIVER, sharing_id)
    with pytest.raises(InvalidArgument) as by_cancel:
        await sharings.cancel(caller, cancel(sharing_id))
    assert by_get.value.specific_reason == by_cancel.value.specific_reason == "SHARING_ID_MALFORMED"


async def test_a_malformed_id_that_is_a_backups_is_refused_as_one(sharings: Sharings, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.cancel(caller, cancel("abc", is_backup_id=True))
    assert refused.value.specific_reason == "BACKUP_ID_MALFORMED"


async def test_cancelling_what_is_cancelled_finds_nothing(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    await sharings.cancel(caller, cancel(given.id))
    with pytest.raises(SharingNotFound):
        await sharings.cancel(caller, cancel(given.id))


async def test_the_recipient_may_not_cancel(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    with pytest.raises(NotTheGiver):
        await sharings.cancel(caller, cancel(given.id, by=RECIPIENT))
    assert await sharings.count(filtered()) == 1


async def test_for_anyone_else_there_is_no_such_sharing(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    with pytest.raises(SharingNotFound):
        await sharings.cancel(caller, cancel(given.id, by=OUTSIDER))
    with pytest.raises(SharingNotFound):
        await sharings.get(OUTSIDER, given.id)


async def test_cancelling_sets_both_times_to_one_instant(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    [given] = await sharings.share(caller, share())
    clock.pass_(5)
    [ended] = await sharings.cancel(caller, cancel(given.id.upper()))
    assert ended == given._replace(updated_at=clock.now, deleted_at=clock.now)


async def test_cancelling_by_backup_ends_its_sharings_and_no_others(sharings: Sharings, caller: Caller) -> None:
    given = await sharings.share(caller, share(RECIPIENT, OTHER))
    await sharings.share(caller, share(of=SECOND_BACKUP))
    ended = await sharings.cancel(caller, cancel(BACKUP.upper(), is_backup_id=True))
    assert [sharing.id for sharing in ended] == [sharing.id for sharing in given]
    assert await sharings.count(filtered()) == 1


async def test_cancelling_by_a_backup_with_no_active_sharing_ends_none(sharings: Sharings, caller: Caller) -> None:
    assert not await sharings.cancel(caller, cancel(BACKUP, is_backup_id=True))


@pytest.mark.parametrize("backup_id", [UNKNOWN, OUTSIDERS_BACKUP])
async def test_cancelling_by_a_foreign_backup_or_none_is_refused(
    sharings: Sharings, caller: Caller, backup_id: str
) -> None:
    with pytest.raises(BackupNotFound):
        await sharings.cancel(caller, cancel(backup_id, is_backup_id=True))


async def test_a_sharing_id_is_no_backup_id(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    with pytest.raises(BackupNotFound):
        await sharings.cancel(caller, cancel(given.id, is_backup_id=True))


async def test_giver_and_recipient_see_a_sharing_with_its_backup(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    for project_id in (GIVER, RECIPIENT):
        found = await sharings.get(project_id, given.id.upper())
        assert (found.sharing, found.backup.id) == (given, BACKUP)


async def test_after_a_cancel_the_recipient_can_get_a_new_sharing(sharings: Sharings, caller: Caller) -> None:
    [first] = await sharings.share(caller, share())
    await sharings.cancel(caller, cancel(first.id))
    [second] = await sharings.share(caller, share())
    assert second.id != first.id


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"limit": 0}, ["limit"]),
        ({"limit": -1}, ["limit"]),
        ({"offset": -1}, ["offset"]),
        ({"sort_key": "colour"}, ["sort_key"]),
        ({"sort_dir": "DESC"}, ["sort_dir"]),
        ({"sort_key": "x", "sort_dir": "y", "limit": 0, "offset": -1}, ["sort_key", "sort_dir", "limit", "offset"]),
    ],
)
async def test_a_bad_order_or_slice_is_named(
    sharings: Sharings, members: Mapping[str, object], named: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.list(page(**members))
    assert fields(refused.value) == named


async def test_all_bad_filters_are_named_by_list_and_count(sharings: Sharings) -> None:
    bad = filtered(
        "a b",
        backup_id="x",
        from_project_id="a/b",
        to_project_id="é",
        volume_id="v" * 65,
        availability_zone="z" * 256,
        status="s" * 65,
        name="n\0",
    )
    with pytest.raises(InvalidArgument) as by_list:
        await sharings.list(ListRequest(bad))
    with pytest.raises(InvalidArgument) as by_count:
        await sharings.count(bad)
    assert fields(by_list.value) == fields(by_count.value)
    assert set(fields(by_count.value)) == {
        "project_id",
        "backup_id",
        "from_project_id",
        "to_project_id",
        "volume_id",
        "availability_zone",
        "status",
        "name",
    }


async def test_a_filter_that_is_not_given_is_not_checked(sharings: Sharings) -> None:
    assert await sharings.count(filtered()) == 0


@pytest.mark.parametrize("name", ["backup_id", "from_project_id", "to_project_id"])
async def test_a_filter_that_is_given_is_checked(sharings: Sharings, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.count(filtered(**{name: ""}))
    assert fields(refused.value) == [name]


async def test_a_malformed_backup_id_as_a_filter_is_a_backups(sharings: Sharings) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sharings.count(filtered(backup_id="abc"))
    assert refused.value.specific_reason == "BACKUP_ID_MALFORMED"
