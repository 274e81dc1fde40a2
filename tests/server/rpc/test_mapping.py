"""Conversion between model and messages, in both directions."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from backup_sharing.errors import InvalidArgument
from backup_sharing.model import Backup, Sharing, SharingDetail
from backup_sharing.rpc import mapping
from backupsharing.v2 import backup_pb2
from backupsharing.v2.backup_sharing_pb2 import ListSharingsResponse
from backupsharing.v2.sharing_pb2 import SharingDetail as SharingDetailMessage
from tests.server.identities import BACKUP, GIVER, NOW, RECIPIENT, backup

EARLIEST = -62_135_596_800 * 1_000_000
LATEST = 253_402_300_799 * 1_000_000 + 999_999
EXISTING = Sharing("01900000-0000-7000-8000-000000000001", BACKUP, GIVER, RECIPIENT, NOW)

times = st.integers(EARLIEST, LATEST)
values = {
    "str": st.text(),
    "str | None": st.none() | st.text(),
    "int | None": st.none() | st.integers(0, 2**31 - 1),
    "bool | None": st.none() | st.booleans(),
    "Micros | None": st.none() | times,
}
backups = st.builds(
    Backup,
    **{name: values[getattr(kind, "__forward_arg__", kind)] for name, kind in Backup.__annotations__.items()},
)
few_backups = st.shared(st.lists(backups, min_size=1, max_size=3, unique_by=lambda one: one.id)).flatmap(
    st.sampled_from
)
# A list shows active sharings, which have no `deleted_at`.
active = st.builds(
    Sharing,
    *(st.text() for _ in range(4)),
    created_at=times,
    updated_at=st.none() | times,
    deleted_at=st.none(),
    expires_at=st.none() | times,
)
details = st.builds(SharingDetail, active, few_backups)


def reading(message: SharingDetailMessage) -> SharingDetail:
    """Return what a client would read from a message."""
    times = {
        name: mapping.micros(name, getattr(message, field)) if message.HasField(field) else None  # type: ignore[arg-type]
        for name, field in (("updated_at", "updated_at"), ("expires_at", "expire_time"))
    }
    created_at = mapping.micros("created_at", message.created_at)
    projects = message.from_project_id, message.to_project_id
    given = Sharing(message.id, message.backup_id, *projects, created_at, **times)
    return SharingDetail(given, mapping.to_backup(message.backup)[0])


@pytest.mark.parametrize(
    "time",
    [
        Timestamp(seconds=-62_135_596_801),
        Timestamp(seconds=253_402_300_800),
        Timestamp(seconds=2**63 - 1),
        Timestamp(nanos=-1),
        Timestamp(nanos=1_000_000_000),
    ],
)
def test_a_time_outside_the_years_1_to_9999_is_refused_by_name(time: Timestamp) -> None:
    with pytest.raises(InvalidArgument) as refused:
        mapping.micros("backup.created_at", time)
    assert [violation.field for violation in refused.value.violations] == ["backup.created_at"]


@given(times)
def test_a_time_comes_back_as_it_was(micros: int) -> None:
    assert mapping.micros("created_at", mapping.timestamp(micros)) == micros


@given(times)
def test_a_time_is_written_as_the_format_asks_for(micros: int) -> None:
    assert 0 <= mapping.timestamp(micros).nanos < 1_000_000_000


def test_a_time_is_kept_to_the_microsecond() -> None:
    assert mapping.micros("created_at", Timestamp(seconds=-1, nanos=999_999_999)) == -1


@given(backups)
def test_a_backup_comes_back_as_it_was(known: Backup) -> None:
    assert mapping.to_backup(mapping.backup(known)) == (known, [])


def test_what_a_backup_does_not_say_stays_unset() -> None:
    assert {field.name for field, _ in mapping.backup(backup()).ListFields()} == {"id", "project_id", "status"}


def test_what_is_nought_false_or_empty_is_said() -> None:
    message = mapping.backup(backup(size=0, object_count=0, is_incremental=False, name="", created_at=0))
    assert all(message.HasField(name) for name in ("size", "object_count", "is_incremental", "name", "created_at"))


def test_a_backup_with_nothing_in_it_is_left_to_the_checks() -> None:
    assert mapping.to_backup(backup_pb2.Backup()) == (Backup("", "", ""), [])


def test_every_time_that_is_none_is_named_and_the_rest_is_read() -> None:
    never = Timestamp(seconds=2**62)
    message = backup_pb2.Backup(name="n", created_at=never, updated_at=never)
    read, misread = mapping.to_backup(message)
    assert (read.name, read.created_at) == ("n", None)
    assert [violation.field for violation in misread] == ["backup.created_at", "backup.updated_at"]


def test_the_model_and_the_message_have_the_same_fields() -> None:
    assert set(Backup._fields) == set(backup_pb2.Backup.DESCRIPTOR.fields_by_name)


def test_an_active_sharing_says_nothing_of_an_end() -> None:
    message = mapping.sharing(EXISTING)
    assert not any(message.HasField(name) for name in ("updated_at", "deleted_at", "deleted"))


def test_a_cancelled_sharing_says_so_as_text() -> None:
    message = mapping.sharing(EXISTING._replace(updated_at=NOW + 1, deleted_at=NOW + 1))
    assert message.deleted == "true"
    assert message.deleted_at == message.updated_at == mapping.timestamp(NOW + 1)


def test_sharings_keep_their_order() -> None:
    others = [EXISTING._replace(to_project_id=name) for name in "zab"]
    assert [message.to_project_id for message in mapping.sharings(others)] == ["z", "a", "b"]


def test_a_detail_has_the_sharing_and_its_backup() -> None:
    message = mapping.detail(SharingDetail(EXISTING, backup(name="n")))
    assert (message.id, message.backup_id, message.backup.name) == (EXISTING.id, BACKUP, "n")
    assert (message.from_project_id, message.to_project_id) == (GIVER, RECIPIENT)
    assert not message.HasField("updated_at")


@given(st.lists(details, max_size=20), st.lists(details, max_size=20))
def test_a_page_has_the_bytes_of_its_details_one_by_one(first: list[SharingDetail], rest: list[SharingDetail]) -> None:
    mapper, page = mapping.DetailMapper(), ListSharingsResponse()
    mapper.add(first, page)
    mapper.add(rest, page)
    alone = ListSharingsResponse(shared=[mapping.detail(value) for value in first + rest])
    assert page.SerializeToString() == alone.SerializeToString()
    assert [reading(message) for message in page.shared] == first + rest


def test_the_epoch_is_a_time_that_is_there() -> None:
    assert mapping.sharing(EXISTING._replace(created_at=0)).HasField("created_at")
