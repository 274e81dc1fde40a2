"""Native gRPC: generated stubs, a real server, and a channel with default options."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.store.interface import SharingFilter, Store
from backup_sharing.usecases.sharing import Caller, Sharings
from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_catalog_pb2_grpc, backup_sharing_pb2_grpc
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import SHARE, cancel_message, channel_into, share_message
from tests.server.failure_details import FailureDetails, failure_details_of, trailers_of
from tests.server.identities import (
    BACKUP,
    GIVER,
    MADE_REQUEST_ID,
    NOW,
    OTHER,
    RECIPIENT,
    REQUEST_ID,
    identity,
    projects,
    share,
)

Stub = Any
"""A generated stub; grpc.aio has no types for it."""

PATIENCE = 30.0


@pytest_asyncio.fixture
async def channel(pipeline: Pipeline, methods: Sequence[ServedMethod]) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_into(pipeline, methods) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Stub:
    return backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)


@pytest.fixture
def catalog_stub(channel: grpc.aio.Channel) -> Stub:
    return backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)


def by(token: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("x-auth-token", token), *more)


GIVER_IS = by("giver-token")


async def refused(call: grpc.aio.UnaryUnaryCall[Any, Any]) -> tuple[FailureDetails, Mapping[str, str | bytes]]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return failure_details_of(raised.value), trailers_of(raised.value)


@pytest.mark.parametrize("value", ["bad id", "\U0001f600" * 64, "\x01" * 64], ids=["plain", "wide", "escaped"])
async def test_a_thousand_bad_recipients_are_told_and_not_lost(stub: Stub, value: str) -> None:
    to = [f"{value}{number}" for number in range(1000)]
    reported, _ = await refused(stub.ShareBackup(share_message(*to), metadata=GIVER_IS, timeout=PATIENCE))
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert reported.fields[0] == "shared.to_project_ids[0]"


@pytest.mark.parametrize("length", [32, 64])
async def test_a_conflict_with_a_thousand_projects_reaches_the_caller(stub: Stub, length: int) -> None:
    request = share_message(*projects(1000, length))
    await stub.ShareBackup(request, metadata=GIVER_IS, timeout=PATIENCE)
    reported, _ = await refused(stub.ShareBackup(request, metadata=GIVER_IS, timeout=PATIENCE))
    assert (reported.code, reported.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_SHARED")
    assert reported.message.endswith("and 980 more.")


async def test_a_call_without_a_token_is_challenged(stub: Stub) -> None:
    reported, trailers = await refused(stub.ShareBackup(share_message(), timeout=PATIENCE))
    assert reported.reason == "TOKEN_MISSING"
    assert trailers["www-authenticate"] == 'Token realm="backup-sharing"'


async def test_a_call_that_is_refused_otherwise_is_not_challenged(stub: Stub) -> None:
    reported, trailers = await refused(stub.ShareBackup(share_message(by=OTHER), metadata=GIVER_IS, timeout=PATIENCE))
    assert reported.reason == "PROJECT_FORBIDDEN"
    assert "www-authenticate" not in trailers


async def test_of_a_token_given_twice_the_last_one_counts(stub: Stub) -> None:
    metadata = by("unknown", ("x-auth-token", "giver-token"))
    await stub.ShareBackup(share_message(), metadata=metadata, timeout=PATIENCE)


async def test_a_request_that_is_no_message_is_told_as_such(channel: grpc.aio.Channel) -> None:
    raw = channel.unary_unary(SHARE)
    reported, _ = await refused(raw(b"\xff\xff", metadata=GIVER_IS, timeout=PATIENCE))
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_malformed_request_without_a_token_is_not_looked_at(channel: grpc.aio.Channel) -> None:
    raw = channel.unary_unary(SHARE)
    reported, _ = await refused(raw(b"\xff\xff", timeout=PATIENCE))
    assert reported.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_method_that_is_not_there_is_unimplemented(channel: grpc.aio.Channel) -> None:
    raw = channel.unary_unary("/backupsharing.v2.BackupSharingService/Forget")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw(b"", metadata=GIVER_IS, timeout=PATIENCE)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_deadline_of_the_call_binds_the_store(methods: Sequence[ServedMethod]) -> None:
    (sharing,) = (method for method in methods if method.name == SHARE)
    callers: list[Caller] = []

    async def handle(caller: Caller, request: Message) -> Message:
        callers.append(caller)
        return await sharing.handle(caller, request)

    cautious = Pipeline([replace(sharing, handle=handle)], identity(), 1.0, lambda: MADE_REQUEST_ID)
    began = time.monotonic()
    async with channel_into(cautious, methods) as channel:
        stub: Stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
        await stub.ShareBackup(share_message(), metadata=GIVER_IS, timeout=PATIENCE)
    [caller] = callers
    assert caller.commit_by is not None
    assert began < caller.commit_by < time.monotonic() + PATIENCE - 1.0


async def test_a_call_without_a_deadline_has_all_the_time(stub: Stub) -> None:
    given = await stub.ShareBackup(share_message(), metadata=GIVER_IS)
    assert [entry.to_project_id for entry in given.shared] == [RECIPIENT]


async def test_a_call_its_caller_gives_up_is_logged_as_cancelled(
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    reached, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(_: Caller, __: pb.ShareBackupRequest) -> pb.ShareBackupResponse:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    methods = [ServedMethod(SHARE, pb.ShareBackupRequest, None, handle)]
    pipeline = Pipeline(methods, identity(), 1.0, lambda: MADE_REQUEST_ID)
    async with channel_into(pipeline, methods) as channel:
        call = channel.unary_unary(SHARE)(b"", metadata=GIVER_IS)
        await asyncio.wait_for(reached.wait(), PATIENCE)
        call.cancel()
        await asyncio.wait_for(cancelled.wait(), PATIENCE)
    assert [line["code"] for line in log_lines()] == ["CANCELLED"]


async def test_the_request_id_comes_back_with_a_success(stub: Stub) -> None:
    metadata = by("giver-token", ("x-openstack-request-id", REQUEST_ID))
    call = stub.CountSharings(pb.CountSharingsRequest(project_id=GIVER), metadata=metadata, timeout=PATIENCE)
    await call
    assert (await call.trailing_metadata())["x-openstack-request-id"] == MADE_REQUEST_ID


async def test_binary_metadata_is_nobodys_token(stub: Stub) -> None:
    metadata = (("x-auth-token-bin", b"giver-token"),)
    reported, _ = await refused(stub.ShareBackup(share_message(), metadata=metadata, timeout=PATIENCE))
    assert reported.reason == "TOKEN_MISSING"


async def test_a_share_answers_every_recipient_in_the_order_asked_for(stub: Stub) -> None:
    given = await stub.ShareBackup(share_message(RECIPIENT, OTHER), metadata=GIVER_IS, timeout=PATIENCE)
    assert [entry.to_project_id for entry in given.shared] == [RECIPIENT, OTHER]
    assert {entry.created_at.ToMicroseconds() for entry in given.shared} == {NOW}


async def test_the_conflict_policy_of_the_request_is_heard(stub: Stub) -> None:
    first = await stub.ShareBackup(share_message(), metadata=GIVER_IS, timeout=PATIENCE)
    request = share_message(conflict_policy=pb.CONFLICT_POLICY_RETURN_STANDING)
    assert await stub.ShareBackup(request, metadata=GIVER_IS, timeout=PATIENCE) == first


async def test_the_idempotency_key_of_the_request_is_heard(stub: Stub) -> None:
    request = share_message(idempotency_key="k")
    first = await stub.ShareBackup(request, metadata=GIVER_IS, timeout=PATIENCE)
    assert await stub.ShareBackup(request, metadata=GIVER_IS, timeout=PATIENCE) == first


async def test_a_cancel_answers_the_sharings_that_it_ended(stub: Stub) -> None:
    given = (await stub.ShareBackup(share_message(), metadata=GIVER_IS, timeout=PATIENCE)).shared[0]
    [ended] = (await stub.CancelSharing(cancel_message(given.id), metadata=GIVER_IS, timeout=PATIENCE)).shared
    assert (ended.id, ended.deleted, ended.deleted_at) == (given.id, "true", ended.updated_at)


async def test_a_cancel_by_backup_ends_all_of_it(stub: Stub) -> None:
    await stub.ShareBackup(share_message(RECIPIENT, OTHER), metadata=GIVER_IS, timeout=PATIENCE)
    request = cancel_message(BACKUP, is_backup_id=True)
    ended = await stub.CancelSharing(request, metadata=GIVER_IS, timeout=PATIENCE)
    assert len(ended.shared) == 2


async def test_list_count_and_get_agree(stub: Stub, sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    metadata = by("recipient-token")
    whose = {"project_id": RECIPIENT, "share_to_me": True}
    listed = await stub.ListSharings(pb.ListSharingsRequest(**whose), metadata=metadata, timeout=PATIENCE)
    counted = await stub.CountSharings(pb.CountSharingsRequest(**whose), metadata=metadata, timeout=PATIENCE)
    request = pb.GetSharingRequest(project_id=RECIPIENT, id=given.id)
    got = await stub.GetSharing(request, metadata=metadata, timeout=PATIENCE)
    assert list(listed.shared) == [got.shared]
    assert counted.count == 1
    assert got.shared.backup.id == BACKUP


async def test_a_list_goes_on_by_its_token(stub: Stub, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(RECIPIENT, OTHER))
    request = pb.ListSharingsRequest(project_id=GIVER, limit=1, sort_key="id", sort_dir="asc")
    first = await stub.ListSharings(request, metadata=GIVER_IS, timeout=PATIENCE)
    request.page_token = first.next_page_token
    second = await stub.ListSharings(request, metadata=GIVER_IS, timeout=PATIENCE)
    assert [entry.to_project_id for entry in (*first.shared, *second.shared)] == [RECIPIENT, OTHER]
    assert second.next_page_token == ""


async def test_the_catalogue_puts_gets_lists_and_removes(catalog_stub: Stub) -> None:
    metadata = by("service-token")
    backup = catalog_pb.PutBackupRequest(backup={"id": BACKUP, "project_id": GIVER, "status": "available", "size": 1})
    stored = await catalog_stub.PutBackup(backup, metadata=metadata, timeout=PATIENCE)
    got = await catalog_stub.GetBackup(
        catalog_pb.GetBackupRequest(backup_id=BACKUP), metadata=metadata, timeout=PATIENCE
    )
    listed = await catalog_stub.ListBackups(catalog_pb.ListBackupsRequest(limit=1), metadata=metadata, timeout=PATIENCE)
    assert stored.backup == got.backup == listed.backups[0] == backup.backup
    gone = catalog_pb.RemoveBackupRequest(backup_id=BACKUP)
    assert not (await catalog_stub.RemoveBackup(gone, metadata=metadata, timeout=PATIENCE)).shared
    reported, _ = await refused(
        catalog_stub.GetBackup(catalog_pb.GetBackupRequest(backup_id=BACKUP), metadata=metadata, timeout=PATIENCE)
    )
    assert reported.reason == "BACKUP_NOT_FOUND"


async def test_identical_shares_at_once_are_one_success_and_conflicts(stub: Stub, store: Store) -> None:
    calls = [stub.ShareBackup(share_message(), metadata=GIVER_IS, timeout=PATIENCE) for _ in range(50)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    failures = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [failure_details_of(failure).reason for failure in failures] == ["ALREADY_SHARED"] * 49
    assert await store.count_sharings(SharingFilter(GIVER)) == 1
