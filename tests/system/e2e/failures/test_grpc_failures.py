"""gRPC failures are a ``google.rpc.Status`` with the same content as REST failures."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.programs import PATIENCE
from tests.support.rest import assert_success
from tests.support.system import Project, System

UNKNOWN_ID = "00000000-0000-4000-8000-00000000dead"


def share_over_grpc(system: System, giver: Project, backup_id: str, *recipients: str, token: str = "") -> grpc.RpcError:
    request = pb.ShareBackupRequest(
        project_id=giver.id, shared=pb.BackupRecipients(backup_id=backup_id, to_project_ids=recipients)
    )
    with pytest.raises(grpc.RpcError) as caught:
        system.sharings.ShareBackup(request, metadata=[("x-auth-token", token or giver.token)], timeout=PATIENCE)
    return caught.value


def details(error: grpc.RpcError) -> dict[type[Message], Message]:
    """Return the details of a failed call by type."""
    trailers = dict(error.trailing_metadata())  # type: ignore[attr-defined] # the error is also a call
    packed = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RequestInfo)
    return {kind: kind.FromString(one.value) for one in packed.details for kind in kinds if one.Is(kind.DESCRIPTOR)}


@pytest.mark.parametrize(
    ("given", "recipients", "code", "reason", "shown"),
    [
        ("abc", ["recipient"], "INVALID_ARGUMENT", "BACKUP_ID_MALFORMED", "VolumeBackup.0204"),
        ("", ["recipient"], "INVALID_ARGUMENT", "BACKUP_ID_MISSING", "VolumeBackup.0203"),
        (None, [], "INVALID_ARGUMENT", "INVALID_REQUEST", "VolumeBackup.0002"),
        (UNKNOWN_ID, ["recipient"], "NOT_FOUND", "BACKUP_NOT_FOUND", "VolumeBackup.0110"),
        (None, ["existing"], "ALREADY_EXISTS", "ALREADY_SHARED", "BackupSharing.0002"),
    ],
)
async def test_a_grpc_failure_carries_its_reason_and_documented_code(
    system: System, giver: Project, backup_id: str, given: str | None, recipients: list[str], code: str, reason: str,
    shown: str,
) -> None:  # fmt: skip
    assert_success(await system.share(giver, backup_id, "existing"))
    error = share_over_grpc(system, giver, backup_id if given is None else given, *recipients)
    found = details(error)
    info = found[error_details_pb2.ErrorInfo]
    assert (error.code().name, info.reason, info.metadata["code"]) == (code, reason, shown)  # type: ignore[attr-defined]
    assert (code == "INVALID_ARGUMENT") == (error_details_pb2.BadRequest in found)
    uuid.UUID(found[error_details_pb2.RequestInfo].request_id.removeprefix("req-"))


async def test_an_unknown_token_over_grpc_is_unauthenticated(system: System, giver: Project, backup_id: str) -> None:
    error = share_over_grpc(system, giver, backup_id, "recipient", token="unknown")
    info = details(error)[error_details_pb2.ErrorInfo]
    assert (error.code(), info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")  # type: ignore[attr-defined]
