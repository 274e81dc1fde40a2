"""Conversion of a failure to ``google.rpc.Status``: the only place that sets its gRPC code and details."""

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
from restmap.reasons import Reason, reasons_of

DOMAIN = "backupsharing"
"""``ErrorInfo.domain`` of every failure; `error_reason.proto` defines it for the reasons."""

INTERNAL = "INTERNAL"

REASONS: Mapping[str, Reason] = reasons_of(ErrorReason.DESCRIPTOR)
"""Status and code of each reason: the options of its value in `error_reason.proto`."""

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a failed call, as sent over gRPC."""

    code: grpc.StatusCode
    message: str
    reason: str
    details: bytes
    """A serialized ``google.rpc.Status``, for ``grpc-status-details-bin``."""


def of_failure(failure: errors.Failure, request_id: str) -> Status:
    """Build the status of a failure."""
    reason = failure.specific_reason if isinstance(failure, errors.InvalidArgument) else failure.reason
    details = [_error_info(reason, failure.metadata), *_specific_details(failure)]
    return _status(reason, failure.message, details, request_id)


def of_defect(request_id: str) -> Status:
    """Build the status of an unexpected exception; the message contains only the request id for the operator."""
    message = f"An internal error occurred; the operator finds its cause under {request_id}."
    return _status(INTERNAL, message, [_error_info(INTERNAL, {})], request_id)


def _error_info(reason: str, metadata: Mapping[str, str]) -> Message:
    info: Message = error_details_pb2.ErrorInfo(
        reason=reason, domain=DOMAIN, metadata={**metadata, "code": REASONS[reason].code}
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


def _status(reason: str, message: str, details: list[Message], request_id: str) -> Status:
    code = REASONS[reason].grpc_code
    packed = []
    for detail in [*details, error_details_pb2.RequestInfo(request_id=request_id)]:
        packed.append(Any())
        packed[-1].Pack(detail)
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message, details=packed)
    return Status(code, message, reason, status.SerializeToString())
