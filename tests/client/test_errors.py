"""Every failure of the service, as the exception that a caller gets."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo

import backupsharing.client as package
from backup_sharing.rpc import status as server
from backupsharing.client import (
    AlreadyShared,
    Backup,
    BackupSharingError,
    InvalidRequest,
    NotAllowed,
    ServerFault,
    Unavailable,
    Violation,
)
from backupsharing.client.errors import REASONS
from backupsharing.v2.backup_sharing_pb2 import GetSharingResponse
from backupsharing.v2.error_reason_pb2 import ErrorReason
from backupsharing.v2.sharing_pb2 import SharingDetail
from restmap.v1 import restmap_pb2
from tests.client.callers import Caller
from tests.support.stub_server import StubServer

KNOWN = [value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values[1:]]
EXPECTED = {
    "NotAuthenticated": "TOKEN_MISSING TOKEN_INVALID PROXY_REQUIRED",
    "NotAllowed": "PROJECT_FORBIDDEN ROLE_MISSING ACCESS_RULE_MISSING NOT_THE_GIVER",
    "InvalidRequest": "INVALID_REQUEST BACKUP_ID_MISSING BACKUP_ID_MALFORMED SHARING_ID_MALFORMED",
    "BackupNotFound": "BACKUP_NOT_FOUND",
    "SharingNotFound": "SHARING_NOT_FOUND",
    "BackupNotAvailable": "BACKUP_NOT_AVAILABLE",
    "BackupOwnerFixed": "BACKUP_OWNER_FIXED",
    "AlreadyShared": "ALREADY_SHARED",
    "IdempotencyKeyReused": "IDEMPOTENCY_KEY_REUSED",
    "QuotaUsedUp": "SHARING_QUOTA_USED_UP",
    "CursorExpired": "CURSOR_EXPIRED",
    "Unavailable": "OVERLOADED UNAVAILABLE OUTCOME_UNKNOWN IDENTITY_UNAVAILABLE",
    "DeadlineExceeded": "DEADLINE_TOO_CLOSE",
    "ServerFault": "STORED_DATA_UNREADABLE INTERNAL",
}
"""The reasons of each exception, separated by spaces."""
NEVER = Timestamp(seconds=10**15)


def test_there_is_an_exception_for_every_reason_and_no_other() -> None:
    assert set(REASONS) == set(KNOWN)
    assert {kind.__name__ for kind in REASONS.values()} <= set(package.__all__)


@pytest.mark.parametrize("reason", KNOWN)
def test_each_reason_raises_its_exception_with_all_details(stub: StubServer, caller: Caller, reason: str) -> None:
    status, code = server.REASONS[reason].grpc_code, server.REASONS[reason].code
    stub.fails(
        status,
        "what happened",
        ErrorInfo(reason=reason, domain="backupsharing", metadata={"code": code, "backup_id": "b"}),
        BadRequest(field_violations=[BadRequest.FieldViolation(field="shared.backup_id", description="not a UUID")]),
        RetryInfo(retry_delay=Duration(seconds=600)),
        RequestInfo(request_id="req-1"),
    )
    with pytest.raises(BackupSharingError) as raised:
        caller.do(lambda client: client.count())
    failure = raised.value
    assert reason in EXPECTED[type(failure).__name__].split()
    assert (failure.reason, failure.code, str(failure), failure.message) == (
        *(reason, code),
        *("what happened", "what happened"),
    )
    assert failure.metadata["backup_id"] == "b"
    assert failure.violations == (Violation("shared.backup_id", "not a UUID"),)
    assert (failure.request_id, failure.retry_after, failure.status) == ("req-1", 600.0, status)


@pytest.mark.parametrize("reason", KNOWN)
def test_what_may_be_stored_is_what_the_protos_say(stub: StubServer, caller: Caller, reason: str) -> None:
    value = ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    stub.fails(server.REASONS[reason].grpc_code, "what happened", ErrorInfo(reason=reason, domain="backupsharing"))
    with pytest.raises(BackupSharingError) as raised:
        caller.do(lambda client: client.put_backup(Backup(id="b", project_id="p", status="s")))
    assert raised.value.may_be_stored == (not value.GetOptions().Extensions[restmap_pb2.reason].nothing_done)


def test_already_shared_knows_the_projects(stub: StubServer, caller: Caller) -> None:
    metadata = {"to_project_ids": "p, q", "code": "BackupSharing.0002"}
    info = ErrorInfo(reason="ALREADY_SHARED", domain="backupsharing", metadata=metadata)
    stub.fails(grpc.StatusCode.ALREADY_EXISTS, "p and q have it", info)
    with pytest.raises(AlreadyShared) as raised:
        caller.do(lambda client: client.share("b", ["p", "q", "r"]))
    assert raised.value.project_ids == ("p", "q")
    from_a_worker = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 -- pickled here
    assert type(from_a_worker) is AlreadyShared
    assert from_a_worker.project_ids == ("p", "q")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequest),
        (grpc.StatusCode.PERMISSION_DENIED, NotAllowed),
        (grpc.StatusCode.INTERNAL, ServerFault),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.OUT_OF_RANGE, BackupSharingError),
    ],
)
def test_a_reason_newer_than_the_client_is_known_by_its_status(
    stub: StubServer, caller: Caller, status: grpc.StatusCode, expected: type[BackupSharingError]
) -> None:
    stub.fails(status, "new", ErrorInfo(reason="TOO_NEW", domain="backupsharing", metadata={"code": "X.1"}))
    with pytest.raises(BackupSharingError) as raised:
        caller.do(lambda client: client.count())
    assert type(raised.value) is expected
    assert (raised.value.reason, raised.value.code) == ("TOO_NEW", "X.1")


def test_a_reason_of_another_domain_means_nothing(stub: StubServer, caller: Caller) -> None:
    info = ErrorInfo(reason="BACKUP_NOT_FOUND", domain="elsewhere.example", metadata={"code": "X.1"})
    stub.fails(grpc.StatusCode.NOT_FOUND, "not here", info)
    with pytest.raises(BackupSharingError) as raised:
        caller.do(lambda client: client.count())
    assert (type(raised.value), raised.value.reason, raised.value.code) == (BackupSharingError, "", "")


def test_a_trailer_that_cannot_be_read_leaves_the_status(stub: StubServer, caller: Caller) -> None:
    stub.fails_with_trailer(grpc.StatusCode.UNAVAILABLE, "half", b"\xff\xff\xff")
    with pytest.raises(Unavailable, match="half") as raised:
        caller.do(lambda client: client.count())
    assert raised.value.reason == ""


def test_an_answer_that_cannot_be_read_is_a_fault_of_the_server(stub: StubServer, caller: Caller) -> None:
    stub.answers(b"\xff\xff\xff")
    with pytest.raises(ServerFault, match="CountSharings"):
        caller.do(lambda client: client.count())
    assert len(stub.seen) == 1


def test_a_cancel_answered_without_a_sharing_is_a_server_fault(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(ServerFault):
        caller.do(lambda client: client.cancel("s"))


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda client: client.get("s"), b""),
        (lambda client: client.get_backup("b"), b""),
        (
            lambda client: client.get("s"),
            GetSharingResponse(shared=SharingDetail(created_at=NEVER)).SerializeToString(),
        ),
    ],
    ids=["no sharing", "no backup", "a time that is none"],
)
def test_an_answer_that_makes_no_sense_is_a_fault_of_the_server(
    stub: StubServer, caller: Caller, call: Callable[[Any], Any], answer: bytes
) -> None:
    stub.answers(answer)
    with pytest.raises(ServerFault, match="cannot be read"):
        caller.do(call)


def test_a_time_to_come_again_that_is_none_leaves_the_status(stub: StubServer, caller: Caller) -> None:
    stub.fails(grpc.StatusCode.NOT_FOUND, "never", RetryInfo(retry_delay=Duration(seconds=10**15)))
    with pytest.raises(BackupSharingError, match="never") as raised:
        caller.do(lambda client: client.count())
    assert raised.value.retry_after is None


def test_nothing_is_chained_to_a_failure(stub: StubServer, caller: Caller) -> None:
    stub.fails(grpc.StatusCode.NOT_FOUND, "gone")
    with pytest.raises(BackupSharingError) as raised:
        caller.do(lambda client: client.count())
    assert raised.value.__context__ is None
