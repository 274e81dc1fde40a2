"""The exceptions of failed calls: one for each kind of failure that callers may handle separately.

>>> try:
...     client.get("8332443e-9866-41d8-8a58-a898cf5db030")
... except SharingNotFound as failure:
...     print(failure.reason, failure.code)
SHARING_NOT_FOUND VolumeBackup.0043
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from backupsharing.client.connecting import explained
from backupsharing.v2.error_reason_pb2 import ErrorReason
from restmap.reasons import Reason, reasons_of

DOMAIN = "backupsharing"
"""``ErrorInfo.domain`` of the service's reasons."""

_UNCERTAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_REASONS: Mapping[str, Reason] = reasons_of(ErrorReason.DESCRIPTOR)
_CERTAIN = frozenset(name for name, reason in _REASONS.items() if reason.nothing_done)
"""Reasons of failures that stored nothing, whatever the status is."""

_OF_GRPC_ITSELF = "Deadline Exceeded"
"""Message of a call that gRPC ended at its deadline."""

_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid value of the request."""

    field: str
    """Path of the field, such as ``shared.backup_id``."""
    description: str


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """The details of a failure."""

    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[Violation] = ()
    request_id: str = ""
    retry_after: float | None = None
    status: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    idempotency_key: str = ""


class BackupSharingError(Exception):
    """A call failed. Base class of all exceptions for failed calls."""

    def __init__(self, details: FailureDetails) -> None:
        super().__init__(details.message)
        self._details = details
        self.message = details.message
        self.reason = details.reason
        """A value of ``ErrorReason`` without its prefix; empty if the failure did not come from the service."""
        self.code = details.metadata.get("code", "")
        """The documented error code, the same as over REST."""
        self.metadata = details.metadata
        """Metadata of the failure, such as ``backup_id``."""
        self.violations = tuple(details.violations)
        """All violations of the request."""
        self.request_id = details.request_id
        """Id of the request in the service's log."""
        self.retry_after = details.retry_after
        """Seconds to wait before a retry; None if the service gave none."""
        self.status = details.status
        """The gRPC status code."""
        self.idempotency_key = details.idempotency_key
        """Key of the failed change, also if the caller gave none: the change can be repeated with this key."""

    @property
    def may_be_stored(self) -> bool:
        """Whether the outcome of the change is unknown: its response was lost, or did not arrive in time."""
        return self.status in _UNCERTAIN and self.reason not in _CERTAIN

    def __reduce__(self) -> tuple[type[BackupSharingError], tuple[FailureDetails]]:
        """Pickle all details, for exceptions of worker processes."""
        return type(self), (self._details,)


class InvalidRequest(BackupSharingError):
    """Values are missing or malformed; `violations` names each of them."""


class NotAuthenticated(BackupSharingError):
    """The token is missing, unknown or has expired."""


class NotAllowed(BackupSharingError):
    """The token is of another project, has no role for the call, or is not of the giver."""


class BackupNotFound(BackupSharingError):
    """The backup does not exist, or the project does not own it."""


class SharingNotFound(BackupSharingError):
    """No active sharing has this id, or the project is neither its giver nor its recipient."""


class BackupNotAvailable(BackupSharingError):
    """The backup's status does not allow sharing it."""


class BackupOwnerFixed(BackupSharingError):
    """The backup belongs to another project than the one that `put_backup` named."""


class AlreadyShared(BackupSharingError):
    """Some recipients already have the backup; nothing was stored."""

    @property
    def project_ids(self) -> tuple[str, ...]:
        """The recipients that already have the backup, at most 20 of them."""
        return tuple(filter(None, self.metadata.get("to_project_ids", "").split(", ")))


class IdempotencyKeyReused(BackupSharingError):
    """The idempotency key was used for another request."""


class QuotaUsedUp(BackupSharingError):
    """The backup would have more active sharings than the service allows; nothing was stored."""


class CursorExpired(BackupSharingError):
    """The server no longer keeps all events after the cursor, so a watch or history from there would have a gap."""

    @property
    def oldest_cursor(self) -> str:
        """The oldest cursor from which nothing is missing; empty if the service gave none."""
        return self.metadata.get("oldest_cursor", "")


class Unavailable(BackupSharingError):
    """The service cannot be reached, or is not available now; see `retry_after` and `may_be_stored`."""


class DeadlineExceeded(BackupSharingError):
    """The call was not done within its timeout; see `may_be_stored`."""


class ServerFault(BackupSharingError):
    """A defect of the service, or stored data that cannot be read. Report `request_id` to the operator."""


_STATUSES: Mapping[grpc.StatusCode, type[BackupSharingError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: ServerFault,
    grpc.StatusCode.DATA_LOSS: ServerFault,
}
"""Exceptions by gRPC status, for failures without a reason, or whose reason is unknown or has no own exception."""

_OF_ONE_REASON: Mapping[str, type[BackupSharingError]] = {
    "BACKUP_NOT_FOUND": BackupNotFound,
    "SHARING_NOT_FOUND": SharingNotFound,
    "BACKUP_NOT_AVAILABLE": BackupNotAvailable,
    "BACKUP_OWNER_FIXED": BackupOwnerFixed,
    "ALREADY_SHARED": AlreadyShared,
    "IDEMPOTENCY_KEY_REUSED": IdempotencyKeyReused,
    "SHARING_QUOTA_USED_UP": QuotaUsedUp,
    "OVERLOADED": Unavailable,
    "CURSOR_EXPIRED": CursorExpired,
}
"""Exceptions of reasons that are more specific than their gRPC status."""

REASONS: Mapping[str, type[BackupSharingError]] = {
    name: _OF_ONE_REASON.get(name, _STATUSES.get(reason.grpc_code, BackupSharingError))
    for name, reason in _REASONS.items()
}
"""The exception of each reason."""


def failure_of(error: grpc.RpcError, idempotency_key: str, timeout: float, target: str) -> BackupSharingError:
    """Return the exception for a failed gRPC call of either kind of channel.

    Args:
        error: the failure.
        idempotency_key: key of the call; empty if it had none.
        timeout: seconds that the call had in all, for the message.
        target: address of the server, for the message.
    """
    status = error.code()
    message = error.details() or status.name
    if status is grpc.StatusCode.DEADLINE_EXCEEDED and message == _OF_GRPC_ITSELF:
        message = _not_within(timeout)
    elif status is grpc.StatusCode.UNAVAILABLE:
        message = explained(message, target)
    known = FailureDetails(message=message, status=status, idempotency_key=idempotency_key)
    for name, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if name == _DETAILS and isinstance(value, bytes):
            known = _with_details(value, known)
    return REASONS.get(known.reason, _STATUSES.get(status, BackupSharingError))(known)


def too_late(timeout: float, idempotency_key: str) -> DeadlineExceeded:
    """Return the exception for a call whose timeout passed before the call was sent."""
    message = _not_within(timeout)
    return DeadlineExceeded(
        FailureDetails(message, status=grpc.StatusCode.DEADLINE_EXCEEDED, idempotency_key=idempotency_key)
    )


def _not_within(timeout: float) -> str:
    return f"The call was not done within {timeout:g} s."


def closed(idempotency_key: str) -> BackupSharingError:
    """Return the exception for a call whose client was closed before the response arrived."""
    details = FailureDetails(
        "The client was closed.", status=grpc.StatusCode.CANCELLED, idempotency_key=idempotency_key
    )
    return BackupSharingError(details)


def unreadable(method: str, idempotency_key: str) -> ServerFault:
    """Return the exception for an unreadable response; the outcome of the call is unknown."""
    message = f"The answer to {method} cannot be read."
    return ServerFault(FailureDetails(message, status=grpc.StatusCode.INTERNAL, idempotency_key=idempotency_key))


def _with_details(details: bytes, known: FailureDetails) -> FailureDetails:
    info, bad, request, retry = ErrorInfo(), BadRequest(), RequestInfo(), RetryInfo()
    try:
        found = [_unpacked(details, message) for message in (info, bad, request, retry)]
        retry_after = retry.retry_delay.ToTimedelta().total_seconds() if found[-1] else None
    except (DecodeError, ValueError, OverflowError):
        # These details are not from our service: use the status alone.
        return known
    is_ours = info.domain == DOMAIN
    return replace(
        known,
        reason=info.reason if is_ours else "",
        metadata=dict(info.metadata) if is_ours else {},
        violations=[Violation(one.field, one.description) for one in bad.field_violations],
        request_id=request.request_id,
        retry_after=retry_after,
    )


def _unpacked(details: bytes, into: Message) -> bool:
    return any(packed.Unpack(into) for packed in Status.FromString(details).details)
