"""The contract of every store for reading sharings, on every engine."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from backup_sharing.errors import SharingNotFound
from backup_sharing.model import Page, SharingDetail
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store import listing
from backup_sharing.store.interface import Position, SharingFilter, SortKey, Store
from backup_sharing.store.postgres import reads as postgres_reads
from tests.store.commands import (
    BACKUP_ID,
    GIVER,
    NOW,
    OTHER,
    RECIPIENT,
    STRANGER,
    backup,
    backup_id,
    cancel,
    cause,
    given,
    page,
    project_id,
    recipients,
    share,
)

pytestmark = pytest.mark.asyncio

# In code point order: digits, capitals, small letters, umlauts, the end of the basic plane, and beyond it.
NAMES = ["", "10", "9", "Z", "a", "a", "Ä", "ß", "ﬀ", "\U0001f4be", None, None]
SIZES = [None, -1, 0, 9, 10, 2**31 - 1, 10, None, 3, 3, 3, 0]
STATUSES = ["available", "error", "Error", "deleting"] * 3


@pytest.fixture
async def many(empty_store: Store) -> Store:
    """Return a store with twelve backups, each shared with two projects; several sharings have equal creation times."""
    backups = [
        backup(backup_id(n), status=status, name=name, size=size, volume_id=f"v{n % 3}", availability_zone=f"z{n % 2}")
        for n, (name, size, status) in enumerate(zip(NAMES, SIZES, STATUSES, strict=True))
    ]
    shares = [
        share(
            *(RECIPIENT, OTHER),
            backup_id=backup_id(n),
            sharing_ids=(f"{n * 7 % 12:02}", f"{n * 5 % 12 + 20:02}"),
            because=cause(NOW + n % 4),
        )
        for n in range(len(backups))
    ]
    await asyncio.gather(
        *(empty_store.put_backup(PutBackup(each._replace(status="available"), cause())) for each in backups)
    )
    await asyncio.gather(*(empty_store.share(each) for each in shares))
    await asyncio.gather(*(empty_store.put_backup(PutBackup(each, cause())) for each in backups))
    return empty_store


def sort_value(detail: SharingDetail, key: SortKey) -> str | int | None:
    match key:
        case SortKey.CREATED_AT | SortKey.UPDATED_AT | SortKey.ID:
            value: str | int | None = getattr(detail.sharing, key.value)
        case SortKey.NAME | SortKey.STATUS | SortKey.SIZE:
            value = getattr(detail.backup, key.value)
    return value


def in_order(details: list[SharingDetail], key: SortKey, descending: bool) -> list[SharingDetail]:
    """Return the details in the order of the contract, sorted by Python, which compares text by code point."""
    by_id = sorted(details, key=lambda detail: detail.sharing.id, reverse=descending)
    known = [detail for detail in by_id if sort_value(detail, key) is not None]
    known.sort(key=lambda detail: sort_value(detail, key), reverse=descending)  # type: ignore[arg-type,return-value]  # None is excluded
    return known + [detail for detail in by_id if sort_value(detail, key) is None]


async def test_get_sharing_answers_giver_and_recipient_with_the_backup(store: Store) -> None:
    (sharing,) = await store.share(share())
    for project in (GIVER, RECIPIENT):
        assert await store.get_sharing(project, sharing.id) == SharingDetail(sharing, backup())


async def test_get_sharing_must_raise_not_found_unless_active_and_ours(
    store: Store,
) -> None:
    (sharing,) = await store.share(share())
    with pytest.raises(SharingNotFound):
        await store.get_sharing(STRANGER, sharing.id)
    with pytest.raises(SharingNotFound):
        await store.get_sharing(GIVER, "unknown")
    await store.cancel(cancel(sharing.id))
    with pytest.raises(SharingNotFound):
        await store.get_sharing(GIVER, sharing.id)


async def test_a_list_shows_active_sharings_only_newest_first(store: Store) -> None:
    for number, to in enumerate((RECIPIENT, OTHER, STRANGER)):
        await store.share(share(to, sharing_ids=[str(number)], because=cause(NOW + number)))
    await store.cancel(cancel("1"))
    assert recipients(await store.list_sharings(page())) == [STRANGER, RECIPIENT]
    assert await store.count_sharings(given()) == 2


async def test_a_project_lists_what_it_gave_or_received_and_no_other(store: Store) -> None:
    await store.put_backup(PutBackup(backup(backup_id(2), project_id=OTHER), cause()))
    await store.share(share(RECIPIENT, backup_id=backup_id(2), giver=OTHER, sharing_ids=["of other"]))
    await store.share(share(RECIPIENT, OTHER, sharing_ids=["own", "to other"]))
    expected = {(GIVER, False): ["own", "to other"], (OTHER, False): ["of other"], (OTHER, True): ["to other"]}
    expected |= {(RECIPIENT, False): [], (RECIPIENT, True): ["of other", "own"], (STRANGER, True): []}
    for (project, received), ids in expected.items():
        whose = SharingFilter(project, received)
        listed = await store.list_sharings(page(whose, key=SortKey.ID, descending=False))
        assert [detail.sharing.id for detail in listed.items] == ids
        assert await store.count_sharings(whose) == len(ids)


FILTERS: dict[str, tuple[SharingFilter, int]] = {
    "nothing": (given(), 24),
    "backup": (given(backup_id=backup_id(3)), 2),
    "giver": (given(from_project_id=GIVER), 24),
    "another giver": (given(from_project_id=OTHER), 0),
    "recipient": (given(to_project_id=OTHER), 12),
    "backup and recipient": (given(backup_id=backup_id(3), to_project_id=OTHER), 1),
    "volume": (given(volume_id="v1"), 8),
    "zone": (given(availability_zone="z0"), 12),
    "status": (given(status="Error"), 6),
    "volume, zone and recipient": (given(volume_id="v1", availability_zone="z1", to_project_id=OTHER), 2),
    "received": (SharingFilter(RECIPIENT, received=True), 12),
    "received from": (SharingFilter(RECIPIENT, received=True, from_project_id=GIVER), 12),
    "received backup": (SharingFilter(RECIPIENT, received=True, backup_id=backup_id(3)), 1),
    "received name": (SharingFilter(RECIPIENT, received=True, name="A"), 2),
}


@pytest.mark.parametrize("which", FILTERS)
async def test_a_filter_passes_what_it_says_and_count_agrees(many: Store, which: str) -> None:
    wanted, expected = FILTERS[which]
    assert len((await many.list_sharings(page(wanted))).items) == expected
    assert await many.count_sharings(wanted) == expected


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("100% of_it", "0% o", True),
        ("100% of_it", "%", True),
        ("100% of_it", "F_I", True),
        ("100 of it", "%", False),
        ("100 of it", "_", False),
        ("ÄÖÜ", "äö", True),
        ("straße", "STRASSE", True),
        ("STRASSE", "ß", True),
        ("İ", "i̇", True),
        ("ΑΣ", "ας", True),
        ("a*b?c[d]\\", "*B?C[D]\\", True),
        ("'; --", "'", True),
        ("before\0after", "AFTER", True),
        ("name", "names", False),
        (None, "n", False),
    ],
)
async def test_the_name_filter_finds_casefolded_literal_substrings(
    empty_store: Store, name: str | None, wanted: str, found: bool
) -> None:
    await empty_store.put_backup(PutBackup(backup(name=name), cause()))
    await empty_store.share(share())
    assert await empty_store.count_sharings(given(name=wanted)) == int(found)
    assert recipients(await empty_store.list_sharings(page(given(name=wanted)))) == [RECIPIENT] * found


async def test_the_name_filter_follows_a_change_of_the_name(store: Store) -> None:
    await store.share(share())
    await store.put_backup(PutBackup(backup(name="Nächster"), cause()))
    assert await store.count_sharings(given(name="NÄCHST")) == 1


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", SortKey)
async def test_the_order_is_total_by_code_point_with_nulls_last(many: Store, key: SortKey, descending: bool) -> None:
    listed = list((await many.list_sharings(page(key=key, descending=descending))).items)
    assert len(listed) == 24
    assert listed == in_order(listed, key, descending)


async def next_page(
    store: Store, key: SortKey, descending: bool, limit: int, last: SharingDetail
) -> Page[SharingDetail]:
    after = Position(sort_value(last, key), last.sharing.id)
    return await store.list_sharings(page(key=key, descending=descending, limit=limit, offset=99, after=after))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", SortKey)
async def test_pages_by_position_must_neither_skip_nor_repeat(many: Store, key: SortKey, descending: bool) -> None:
    whole = list((await many.list_sharings(page(key=key, descending=descending))).items)
    for limit in (1, 5):
        part = await many.list_sharings(page(key=key, descending=descending, limit=limit))
        found = list(part.items)
        while part.more:
            part = await next_page(many, key, descending, limit, found[-1])
            found.extend(part.items)
        assert found == whole


async def test_pages_must_not_skip_or_repeat_while_others_change(many: Store) -> None:
    first = await many.list_sharings(page(limit=10))
    await many.cancel(cancel(first.items[0].sharing.id))
    await many.cancel(cancel(first.items[-1].sharing.id))
    await many.share(share(STRANGER, backup_id=backup_id(0), because=cause(NOW + 99)))
    second = await next_page(many, SortKey.CREATED_AT, True, 100, first.items[-1])
    ids = [detail.sharing.id for detail in itertools.chain(first.items, second.items)]
    assert len(ids) == len(set(ids)) == 24


async def test_pages_by_offset_say_whether_more_remain(many: Store) -> None:
    whole = list((await many.list_sharings(page())).items)
    for offset, limit in ((0, 23), (0, 24), (23, 1), (10, 5), (24, 1), (2**31 - 1, 1000)):
        part = await many.list_sharings(page(offset=offset, limit=limit))
        assert list(part.items) == whole[offset : offset + limit]
        assert part.more == (offset + limit < 24)


async def test_an_offset_does_not_count_when_a_position_is_given(many: Store) -> None:
    first = (await many.list_sharings(page(limit=1))).items[0]
    after = Position(first.sharing.created_at, first.sharing.id)
    with_offset = await many.list_sharings(page(after=after, offset=5))
    assert with_offset == await many.list_sharings(page(after=after))


LARGE = "m" * 65_536


@pytest.fixture
async def large(empty_store: Store) -> Store:
    """Return a store with forty backups with the maximum metadata, each shared once."""
    backups = [backup(backup_id(n), name=f"{n % 7}", service_metadata=LARGE) for n in range(40)]
    await asyncio.gather(*(empty_store.put_backup(PutBackup(each, cause())) for each in backups))
    for n in range(40):
        await empty_store.share(share(backup_id=backup_id(n), sharing_ids=[f"{n:02}"], because=cause(NOW + n)))
    return empty_store


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("key", SortKey)
async def test_a_page_of_more_than_its_bytes_must_be_cut_short(large: Store, key: SortKey, descending: bool) -> None:
    found: list[SharingDetail] = []
    part = await large.list_sharings(page(key=key, descending=descending))
    while part.more:
        assert len(part.items) == 15  # each a little over 65 536 bytes: sixteen exceed 1 MiB
        found.extend(part.items)
        by_offset = await large.list_sharings(page(key=key, descending=descending, offset=len(found)))
        part = await next_page(large, key, descending, 1000, found[-1])
        assert part == by_offset
    found.extend(part.items)
    assert len({detail.sharing.id for detail in found}) == 40
    assert found == in_order(found, key, descending)


async def test_a_page_that_is_cut_short_is_the_same_for_its_limit(large: Store) -> None:
    for limit, expected, more in ((14, 14, True), (15, 15, True), (16, 15, True)):
        part = await large.list_sharings(page(limit=limit))
        assert (len(part.items), part.more) == (expected, more)
    part = await large.list_sharings(page(offset=25, limit=15))
    assert (len(part.items), part.more) == (15, False)


async def test_a_page_has_one_item_at_least_however_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_BYTES", 100)
    monkeypatch.setattr(postgres_reads, "PAGE_BYTES", 100)
    await store.share(share(RECIPIENT, OTHER, sharing_ids=["1", "2"]))
    part = await store.list_sharings(page(key=SortKey.ID, descending=False))
    assert ([detail.sharing.id for detail in part.items], part.more) == (["1"], True)
    part = await store.list_sharings(page(key=SortKey.ID, descending=False, offset=1))
    assert ([detail.sharing.id for detail in part.items], part.more) == (["2"], False)


@pytest.mark.parametrize("text", ["ä" * 32_768, "\U0001f4be" * 16_384, LARGE])
async def test_a_page_is_bounded_in_bytes_not_in_characters(empty_store: Store, text: str) -> None:
    for n in range(20):
        await empty_store.put_backup(PutBackup(backup(backup_id(n), service_metadata=text), cause()))
        await empty_store.share(share(backup_id=backup_id(n), sharing_ids=[f"{n:02}"]))
    assert len((await empty_store.list_sharings(page())).items) == 15
    assert len((await empty_store.list_backups(None, 1000, None)).items) == 15


async def test_sharings_of_one_backup_and_of_others_have_their_own(many: Store) -> None:
    for detail in (await many.list_sharings(page())).items:
        assert detail.backup == await many.get_backup(detail.sharing.backup_id)


async def test_a_thousand_usual_items_are_one_page(empty_store: Store) -> None:
    await empty_store.put_backup(PutBackup(backup(name="n" * 255, description="d" * 200), cause()))
    ids = [f"{n:04}" for n in range(1000)]
    await empty_store.share(share(*map(project_id, range(1000)), sharing_ids=ids))
    part = await empty_store.list_sharings(page())
    assert (len(part.items), part.more) == (1000, False)


async def test_the_time_of_creation_may_lie_before_1970(store: Store) -> None:
    await store.share(share(RECIPIENT, because=cause(-5)))
    await store.share(share(project_id(1), because=cause(3)))
    assert recipients(await store.list_sharings(page(given(backup_id=BACKUP_ID)))) == [project_id(1), RECIPIENT]
