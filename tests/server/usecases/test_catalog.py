"""The catalogue's use cases, on a real store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup_sharing.errors import BackupNotFound, BackupOwnerFixed, DeadlineTooClose, InvalidArgument
from backup_sharing.model import Backup
from backup_sharing.usecases.catalog import TEXT_LENGTHS, Catalog
from backup_sharing.usecases.sharing import Caller, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    OUTSIDER,
    OUTSIDERS_BACKUP,
    RECIPIENT,
    SECOND_BACKUP,
    UNKNOWN,
    backup,
    filtered,
    page,
    share,
)


def fields(refused: InvalidArgument) -> list[str]:
    return [violation.field for violation in refused.violations]


async def test_a_put_of_nothing_names_what_is_missing(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await catalog.put(caller, None)
    assert fields(refused.value) == ["backup"]


async def test_a_backup_without_the_required_members_names_them_all(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await catalog.put(caller, Backup("", "", ""))
    assert fields(refused.value) == ["backup.id", "backup.project_id", "backup.status"]


@pytest.mark.parametrize(
    "name",
    ["name", "volume_id", "availability_zone", "container", "description", "fail_reason", "snapshot_id",
     "service_metadata", "status"],
)  # fmt: skip
async def test_a_text_is_bounded(catalog: Catalog, caller: Caller, name: str) -> None:
    longest = TEXT_LENGTHS.get(name, 64 if name == "status" else 255)
    assert getattr(await catalog.put(caller, backup(**{name: "x" * longest})), name) == "x" * longest
    with pytest.raises(InvalidArgument) as refused:
        await catalog.put(caller, backup(**{name: "x" * (longest + 1)}))
    assert fields(refused.value) == [f"backup.{name}"]


@pytest.mark.parametrize("name", ["name", "status", "service_metadata"])
async def test_a_text_with_a_nul_is_refused(catalog: Catalog, caller: Caller, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await catalog.put(caller, backup(**{name: "a\0b"}))


@pytest.mark.parametrize(("character", "most"), [("m", 65_536), ("ä", 32_768), ("\U0001f4be", 16_384)])
async def test_metadata_has_a_largest_size_in_bytes(
    catalog: Catalog, caller: Caller, character: str, most: int
) -> None:
    await catalog.put(caller, backup(service_metadata=character * most))
    with pytest.raises(InvalidArgument, match="at most 65536 are expected") as refused:
        await catalog.put(caller, backup(service_metadata=character * (most + 1)))
    assert fields(refused.value) == ["backup.service_metadata"]


@pytest.mark.parametrize("name", ["size", "object_count"])
async def test_a_negative_number_is_refused(catalog: Catalog, caller: Caller, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await catalog.put(caller, backup(**{name: -1}))
    assert fields(refused.value) == [f"backup.{name}"]


async def test_a_backup_cannot_go_to_another_owner(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(BackupOwnerFixed):
        await catalog.put(caller, backup(project_id=OUTSIDER))
    assert (await catalog.get(BACKUP)).project_id == GIVER


async def test_a_backup_is_stored_under_its_id_in_lower_case(catalog: Catalog, caller: Caller) -> None:
    stored = await catalog.put(caller, backup(UNKNOWN.upper(), name="n"))
    assert stored == await catalog.get(UNKNOWN.upper()) == backup(UNKNOWN, name="n")


async def test_what_a_put_leaves_out_is_forgotten(catalog: Catalog, caller: Caller) -> None:
    await catalog.put(caller, backup(name="n", size=0))
    await catalog.put(caller, backup())
    assert await catalog.get(BACKUP) == backup()


async def test_a_put_whose_deadline_is_too_close_stores_nothing(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(DeadlineTooClose):
        await catalog.put(replace(caller, commit_by=0.0), backup(name="n"))
    assert (await catalog.get(BACKUP)).name is None


async def test_a_malformed_id_is_refused_by_get_and_remove(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(InvalidArgument) as by_get:
        await catalog.get("abc")
    with pytest.raises(InvalidArgument) as by_remove:
        await catalog.remove(caller, "")
    assert by_get.value.specific_reason == "BACKUP_ID_MALFORMED"
    assert by_remove.value.specific_reason == "BACKUP_ID_MISSING"


async def test_an_unknown_backup_is_not_found_by_get_and_remove(catalog: Catalog, caller: Caller) -> None:
    with pytest.raises(BackupNotFound):
        await catalog.get(UNKNOWN)
    with pytest.raises(BackupNotFound):
        await catalog.remove(caller, UNKNOWN)


async def test_a_removed_backup_ends_its_sharings(catalog: Catalog, sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    [ended] = await catalog.remove(caller, BACKUP.upper())
    assert ended.id == given.id
    assert await sharings.count(filtered()) == 0


async def test_a_new_status_leaves_sharings_standing(catalog: Catalog, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share())
    await catalog.put(caller, backup(status="deleting"))
    found, _ = await sharings.list(page(filtered(RECIPIENT, share_to_me=True)))
    assert [item.backup.status for item in found.items] == ["deleting"]


async def test_all_bad_values_of_a_list_are_named(catalog: Catalog) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await catalog.list("a b", 0, "x")
    assert fields(refused.value) == ["project_id", "limit", "page_token"]


async def test_a_page_token_of_another_projects_list_is_refused(catalog: Catalog) -> None:
    _, token = await catalog.list("", 1, "")
    with pytest.raises(InvalidArgument) as refused:
        await catalog.list(GIVER, 1, token)
    assert fields(refused.value) == ["page_token"]


async def test_a_page_token_of_a_list_of_sharings_is_refused(
    catalog: Catalog, sharings: Sharings, caller: Caller
) -> None:
    await sharings.share(caller, share(RECIPIENT, OUTSIDER))
    _, token = await sharings.list(page(limit=1))
    with pytest.raises(InvalidArgument):
        await catalog.list("", 1, token)


async def test_pages_by_token_show_each_backup_once(catalog: Catalog) -> None:
    seen: list[str] = []
    token = ""
    for _ in range(3):
        found, token = await catalog.list("", 1, token)
        seen += [item.id for item in found.items]
    assert (seen, token) == ([BACKUP, SECOND_BACKUP, OUTSIDERS_BACKUP], "")


async def test_a_list_of_one_project_shows_no_other(catalog: Catalog) -> None:
    found, _ = await catalog.list(OUTSIDER, None, "")
    assert [item.id for item in found.items] == [OUTSIDERS_BACKUP]
