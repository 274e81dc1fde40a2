"""Lists of sharings: content, order and paging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import pytest_asyncio

from backup_sharing.errors import InvalidArgument
from backup_sharing.usecases.sharing import Caller, FilterRequest, ListRequest, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    OTHER,
    OUTSIDER,
    RECIPIENT,
    SECOND_BACKUP,
    Clock,
    filtered,
    page,
    share,
)

FOUR = [RECIPIENT, OTHER, OUTSIDER, "f" * 32]


@pytest_asyncio.fixture
async def shared(sharings: Sharings, caller: Caller, clock: Clock) -> Sharings:
    """Return use cases with four sharings of one backup, created one second apart."""
    for recipient in FOUR:
        await sharings.share(caller, share(recipient))
        clock.pass_(1)
    return sharings


async def recipients(sharings: Sharings, request: ListRequest) -> list[str]:
    found, _ = await sharings.list(request)
    return [item.sharing.to_project_id for item in found.items]


@pytest.mark.parametrize(
    "token", ["x", "é", "====", "bnVsbA", "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx", "a" * 100_000]
)
async def test_a_malformed_page_token_is_refused(shared: Sharings, token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await shared.list(page(page_token=token))
    assert [violation.field for violation in refused.value.violations] == ["page_token"]
    assert refused.value.message == ("The value of page_token does not belong to this list; filters and order count.")


@pytest.mark.parametrize(
    "other",
    [
        page(filtered(RECIPIENT)),
        page(filtered(name="n")),
        page(filtered(share_to_me=True)),
        page(sort_key="id"),
        page(sort_dir="asc"),
    ],
)
async def test_a_page_token_of_another_list_is_refused(shared: Sharings, other: ListRequest) -> None:
    _, token = await shared.list(page(limit=1))
    with pytest.raises(InvalidArgument):
        await shared.list(replace(other, page_token=token))


@pytest.mark.parametrize("offset", [0, 1])
async def test_a_page_token_with_an_offset_is_refused(shared: Sharings, offset: int) -> None:
    _, token = await shared.list(page(limit=1))
    with pytest.raises(InvalidArgument) as refused:
        await shared.list(page(page_token=token, offset=offset))
    assert [violation.field for violation in refused.value.violations] == ["offset"]
    assert refused.value.message == "The value of offset is not expected together with page_token."


@pytest.mark.parametrize("key", ["created_at", "updated_at", "id", "name", "status", "size", "disk_format"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_pages_by_token_show_each_sharing_once(shared: Sharings, key: str, direction: str) -> None:
    seen: list[str] = []
    token = ""
    for _ in FOUR:
        found, token = await shared.list(page(sort_key=key, sort_dir=direction, limit=1, page_token=token))
        seen += [item.sharing.to_project_id for item in found.items]
    assert token == ""
    assert seen == await recipients(shared, page(sort_key=key, sort_dir=direction))
    assert sorted(seen) == sorted(FOUR)


async def test_the_size_of_a_page_may_change_on_the_way(shared: Sharings) -> None:
    _, token = await shared.list(page(limit=1))
    assert await recipients(shared, page(limit=1000, page_token=token)) == FOUR[2::-1]


async def test_the_newest_come_first_unless_asked_otherwise(shared: Sharings) -> None:
    assert await recipients(shared, page()) == FOUR[::-1]


@pytest.mark.parametrize("key", ["container_format", "disk_format"])
async def test_formats_that_no_backup_has_sort_as_the_time_of_creation(shared: Sharings, key: str) -> None:
    assert await recipients(shared, page(sort_key=key)) == await recipients(shared, page(sort_key="created_at"))


async def test_an_offset_skips(shared: Sharings) -> None:
    assert await recipients(shared, page(offset=1, limit=2)) == FOUR[2:0:-1]


async def test_an_offset_behind_the_end_finds_nothing(shared: Sharings) -> None:
    assert await recipients(shared, page(offset=2**31 - 1)) == []


async def test_a_limit_beyond_the_largest_means_the_largest(shared: Sharings) -> None:
    assert await recipients(shared, page(limit=2**31 - 1)) == FOUR[::-1]


async def test_the_last_page_has_no_token(shared: Sharings) -> None:
    _, token = await shared.list(page(limit=len(FOUR)))
    assert token == ""


async def test_a_list_shows_what_the_project_gave(shared: Sharings) -> None:
    assert await recipients(shared, page(filtered(RECIPIENT))) == []


async def test_a_list_to_me_shows_what_the_project_got(shared: Sharings) -> None:
    assert await recipients(shared, page(filtered(RECIPIENT, share_to_me=True))) == [RECIPIENT]


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ({}, 4),
        ({"backup_id": BACKUP.upper()}, 4),
        ({"backup_id": SECOND_BACKUP}, 0),
        ({"to_project_id": OTHER}, 1),
        ({"from_project_id": GIVER}, 4),
        ({"from_project_id": OTHER}, 0),
        ({"status": "available"}, 4),
        ({"status": "error"}, 0),
        ({"volume_id": "v"}, 0),
        ({"availability_zone": "z"}, 0),
        ({"name": "n"}, 0),
    ],
)
async def test_list_and_count_filter_alike(shared: Sharings, members: Mapping[str, str], count: int) -> None:
    which: FilterRequest = filtered(**members)
    assert await shared.count(which) == len(await recipients(shared, page(which))) == count
