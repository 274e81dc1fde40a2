"""The details of a failure's ``google.rpc.Status``, as a caller decodes them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DETAILS = "grpc-status-details-bin"

MOST_TRAILERS = 8192
"""Bytes of trailers that a channel with default options always accepts."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FailureDetails:
    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    violations: Sequence[tuple[str, str]] | None
    """Field and description of each violation; None without a ``BadRequest``."""
    retry_seconds: float | None
    quota_subjects: Sequence[str] | None
    request_id: str

    @property
    def fields(self) -> list[str]:
        return [field for field, _ in self.violations or ()]


def failure_details(details: bytes) -> FailureDetails:
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    request = error_details_pb2.RequestInfo()
    present = [_unpacked(status, part) for part in (info, bad, retry, quota, request)]
    assert present[0], "every failure has an ErrorInfo"
    assert sum(present) == len(status.details), "the status has an unexpected detail"
    return FailureDetails(
        code=_CODES[status.code],
        message=status.message,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=[(each.field, each.description) for each in bad.field_violations] if present[1] else None,
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds() if present[2] else None,
        quota_subjects=[each.subject for each in quota.violations] if present[3] else None,
        request_id=request.request_id,
    )


def failure_details_of(error: grpc.aio.AioRpcError) -> FailureDetails:
    """Decode the details of an error from a generated stub; assert that they match its code and message."""
    trailers = trailers_of(error)
    assert DETAILS in trailers, f"no details: {error.code()} {error.details()}"
    read = failure_details(bytes(trailers[DETAILS]))
    assert (read.code, read.message) == (error.code(), error.details())
    return read


def trailers_of(error: grpc.aio.AioRpcError) -> Mapping[str, str | bytes]:
    # Not dict(): the trailing metadata only look like a mapping.
    return {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416


def size_of_trailers(message: str, trailers: Iterable[tuple[str, str | bytes]]) -> int:
    """Return the size of the trailers as HTTP/2 counts it, including the status and the encoded message of gRPC."""
    all_trailers = [("grpc-status", "16"), ("grpc-message", _percent_encoded(message)), *trailers]
    return sum(len(key) + len(_on_the_wire(value)) + 32 for key, value in all_trailers)


def _percent_encoded(message: str) -> str:
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in message.encode())


def _on_the_wire(value: str | bytes) -> bytes:
    return base64.b64encode(value) if isinstance(value, bytes) else value.encode()


def _unpacked(status: status_pb2.Status, into: Message) -> bool:
    return any(detail.Unpack(into) for detail in status.details)
