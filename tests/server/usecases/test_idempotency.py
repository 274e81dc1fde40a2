"""A retry with an idempotency key returns the first answer; a key belongs to one project and method."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotAvailable,
    IdempotencyKeyReused,
    InvalidArgument,
    SharingNotFound,
)
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Cancel, CancelAll, OnConflict, Share
from backup_sharing.store.interface import Store
from backup_sharing.usecases.sharing import Caller, ShareRequest, SharingLimits, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    OTHER,
    OUTSIDER,
    OUTSIDERS_BACKUP,
    RECIPIENT,
    SECOND,
    SECOND_BACKUP,
    Clock,
    cancel,
    filtered,
    share,
)

SetStatus = Callable[[str, str], Awaitable[None]]


@pytest.mark.parametrize(
    "other",
    [
        share(OTHER, key="k"),
        share(RECIPIENT, OTHER, key="k"),
        share(of=SECOND_BACKUP, key="k"),
        share(key="k", on_conflict=OnConflict.RETURN),
    ],
    ids=["recipient", "more recipients", "backup", "conflict policy"],
)
async def test_the_same_key_with_another_request_is_refused(
    sharings: Sharings, caller: Caller, other: ShareRequest
) -> None:
    await sharings.share(caller, share(key="k"))
    with pytest.raises(IdempotencyKeyReused):
        await sharings.share(caller, other)
    assert await sharings.count(filtered()) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "schlüssel", "k\n"])
async def test_a_malformed_key_is_refused_by_share_and_cancel(sharings: Sharings, caller: Caller, key: str) -> None:
    with pytest.raises(InvalidArgument):
        await sharings.share(caller, share(key=key))
    with pytest.raises(InvalidArgument):
        await sharings.cancel(caller, cancel(BACKUP, key=key, is_backup_id=True))
    assert await sharings.count(filtered()) == 0


async def test_the_same_key_and_request_give_the_first_answer_again(sharings: Sharings, caller: Caller) -> None:
    first = await sharings.share(caller, share(key="k"))
    assert await sharings.share(caller, share(key="k")) == first
    assert await sharings.count(filtered()) == 1


async def test_the_first_answer_is_repeated_after_the_sharings_cancel(sharings: Sharings, caller: Caller) -> None:
    [first] = await sharings.share(caller, share(key="k"))
    await sharings.cancel(caller, cancel(first.id))
    assert await sharings.share(caller, share(key="k")) == [first]
    assert await sharings.count(filtered()) == 0


async def test_an_id_in_upper_case_is_the_same_request(sharings: Sharings, caller: Caller) -> None:
    first = await sharings.share(caller, share(key="k"))
    assert await sharings.share(caller, share(of=BACKUP.upper(), key="k")) == first


async def test_a_key_outlives_a_change_of_the_setting_for_conflicts(sharings: Sharings, caller: Caller) -> None:
    first = await sharings.share(caller, share(key="k"))
    changed = replace(sharings, limits=replace(sharings.limits, on_conflict=OnConflict.RETURN))
    assert await changed.share(caller, share(key="k")) == first


async def test_the_case_of_a_key_counts(sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(key="k"))
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share(key="K"))


async def test_a_key_means_nothing_to_another_project(sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(key="k"))
    [given] = await sharings.share(caller, share(of=OUTSIDERS_BACKUP, by=OUTSIDER, key="k"))
    assert given.from_project_id == OUTSIDER


async def test_a_key_means_nothing_to_another_method(sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share(key="k"))
    [ended] = await sharings.cancel(caller, cancel(given.id, key="k"))
    assert ended.id == given.id


async def test_a_key_counts_as_never_used_when_its_time_is_over(
    sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    sharings = replace(sharings, limits=SharingLimits(key_lifetime=60 * SECOND))
    await sharings.share(caller, share(key="k"))
    clock.pass_(60)
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share(key="k"))


async def test_a_key_is_good_until_its_time_is_over(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    sharings = replace(sharings, limits=SharingLimits(key_lifetime=60 * SECOND))
    first = await sharings.share(caller, share(key="k"))
    clock.pass_(59.999999)
    assert await sharings.share(caller, share(key="k")) == first


async def test_without_settings_a_key_is_good_for_a_day(sharings: Sharings, caller: Caller, clock: Clock) -> None:
    sharings = replace(sharings, limits=SharingLimits())
    first = await sharings.share(caller, share(key="k"))
    clock.pass_(86_399.999999)
    assert await sharings.share(caller, share(key="k")) == first
    clock.pass_(0.000001)
    with pytest.raises(AlreadyShared):
        await sharings.share(caller, share(key="k"))


async def test_a_failure_does_not_use_up_the_key(sharings: Sharings, caller: Caller, set_status: SetStatus) -> None:
    await set_status(BACKUP, "creating")
    with pytest.raises(BackupNotAvailable):
        await sharings.share(caller, share(key="k"))
    await set_status(BACKUP, "available")
    [given] = await sharings.share(caller, share(OTHER, key="k"))
    assert given.to_project_id == OTHER


async def test_a_cancel_with_the_same_key_gives_the_first_answer_again(
    sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    [given] = await sharings.share(caller, share())
    first = await sharings.cancel(caller, cancel(given.id, key="k"))
    clock.pass_(1)
    assert await sharings.cancel(caller, cancel(given.id.upper(), key="k")) == first


async def test_a_repeated_cancel_by_backup_spares_a_later_sharing(sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share())
    first = await sharings.cancel(caller, cancel(BACKUP, key="k", is_backup_id=True))
    await sharings.share(caller, share())
    assert await sharings.cancel(caller, cancel(BACKUP, key="k", is_backup_id=True)) == first
    assert await sharings.count(filtered()) == 1


async def test_the_same_id_as_a_sharings_is_another_request(sharings: Sharings, caller: Caller) -> None:
    await sharings.cancel(caller, cancel(BACKUP, key="k", is_backup_id=True))
    with pytest.raises(SharingNotFound):
        await sharings.cancel(caller, cancel(BACKUP, key="k"))


async def test_a_cancel_of_another_sharing_with_one_key_is_refused(sharings: Sharings, caller: Caller) -> None:
    one, other = await sharings.share(caller, share(RECIPIENT, OTHER))
    await sharings.cancel(caller, cancel(one.id, key="k"))
    with pytest.raises(IdempotencyKeyReused):
        await sharings.cancel(caller, cancel(other.id, key="k"))
    assert (await sharings.get(GIVER, other.id)).sharing == other


class Recorded:
    """A store that records the keys of its calls, and returns nothing."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, bytes]] = []

    async def share(self, command: Share | Cancel | CancelAll) -> Sequence[Sharing]:
        assert command.idempotency is not None
        self.keys.append((command.idempotency.method, command.idempotency.fingerprint))
        return ()

    cancel = cancel_all = share


async def test_a_key_is_known_again_by_later_versions(sharings: Sharings, caller: Caller) -> None:
    recorded = Recorded()
    sharings = replace(sharings, store=cast("Store", recorded))
    await sharings.share(caller, share(RECIPIENT, OTHER, key="k"))
    await sharings.share(caller, share(RECIPIENT, key="k", on_conflict=OnConflict.RETURN))
    await sharings.cancel(caller, cancel(BACKUP, key="k"))
    await sharings.cancel(caller, cancel(BACKUP, key="k", is_backup_id=True))
    # These are the fingerprints in existing databases: a retry across an upgrade must still match.
    assert recorded.keys == [
        ("ShareBackup", fingerprint(f"{BACKUP}\n{RECIPIENT}\n{OTHER}\n")),
        ("ShareBackup", fingerprint(f"{BACKUP}\n{RECIPIENT}\nreturn")),
        ("CancelSharing", fingerprint(f"sharing\n{BACKUP}")),
        ("CancelSharing", fingerprint(f"backup\n{BACKUP}")),
    ]


def fingerprint(asked: str) -> bytes:
    return hashlib.sha256(asked.encode()).digest()
