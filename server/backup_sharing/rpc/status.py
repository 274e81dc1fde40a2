"""Failure → ``google.rpc.Status``: the only place where a failure gets its gRPC code and its details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from backup_sharing import errors
from backupsharing.v2.error_reason_pb2 import ErrorReason
from restmap.v1 import restmap_pb2

DOMAIN = "backupsharing"
"""``ErrorInfo.domain`` of every failure; `error_reason.proto` ties it to the reasons."""

INTERNAL = "INTERNAL"

CODES: Mapping[type[errors.Failure], grpc.StatusCode] = {
    errors.TokenMissing: grpc.StatusCode.UNAUTHENTICATED,
    errors.TokenInvalid: grpc.StatusCode.UNAUTHENTICATED,
    errors.ProxyRequired: grpc.StatusCode.UNAUTHENTICATED,
    errors.ProjectForbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.RoleMissing: grpc.StatusCode.PERMISSION_DENIED,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BackupNotFound: grpc.StatusCode.NOT_FOUND,
    errors.SharingNotFound: grpc.StatusCode.NOT_FOUND,
    errors.NotTheGiver: grpc.StatusCode.PERMISSION_DENIED,
    errors.BackupNotAvailable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BackupOwnerFixed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AlreadyShared: grpc.StatusCode.ALREADY_EXISTS,
    errors.IdempotencyKeyReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.QuotaUsedUp: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.OutcomeUnknown: grpc.StatusCode.UNAVAILABLE,
    errors.IdentityUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineTooClose: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.StoredDataUnreadable: grpc.StatusCode.DATA_LOSS,
}

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended, as it goes over the wire."""

    code: grpc.StatusCode
    message: str
    reason: str
    details: bytes
    """A serialized ``google.rpc.Status``, for ``grpc-status-details-bin``."""


def of_failure(failure: errors.Failure, request_id: str) -> Status:
    """Build the status of a failure that the caller may be told."""
    reason = failure.specific_reason if isinstance(failure, errors.InvalidArgument) else failure.reason
    details = [_error_info(reason, failure.metadata), *_specific_details(failure)]
    return _status(CODES[type(failure)], failure.message, reason, details, request_id)


def of_defect(request_id: str) -> Status:
    """Build the status of an exception nobody expected; says only what to quote to the operator."""
    message = f"An internal error occurred; the operator finds its cause under {request_id}."
    return _status(grpc.StatusCode.INTERNAL, message, INTERNAL, [_error_info(INTERNAL, {})], request_id)


def code_of(reason: str) -> str:
    """The documented code of a reason."""
    value = ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return value.GetOptions().Extensions[restmap_pb2.reason].code


def _error_info(reason: str, metadata: Mapping[str, str]) -> Message:
    info: Message = error_details_pb2.ErrorInfo(
        reason=reason, domain=DOMAIN, metadata={**metadata, "code": code_of(reason)}
    )
    return info


def _specific_details(failure: errors.Failure) -> list[Message]:
    match failure:
        case errors.InvalidArgument():
            violations = [
                error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
                for violation in failure.violations
            ]
            return [error_details_pb2.BadRequest(field_violations=violations)]
        case errors.QuotaUsedUp():
            violation = error_details_pb2.QuotaFailure.Violation(
                subject=f"backup:{failure.backup_id}", description=failure.message
            )
            return [error_details_pb2.QuotaFailure(violations=[violation])]
        case errors.Overloaded() | errors.Unavailable() | errors.OutcomeUnknown() | errors.IdentityUnavailable():
            return [error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_SECONDS))]
        case _:
            return []


def _status(code: grpc.StatusCode, message: str, reason: str, details: list[Message], request_id: str) -> Status:
    packed = []
    for detail in [*details, error_details_pb2.RequestInfo(request_id=request_id)]:
        packed.append(Any())
        packed[-1].Pack(detail)
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message, details=packed)
    return Status(code, message, reason, status.SerializeToString())
