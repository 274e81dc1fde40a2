"""What goes back to the client: one shape for every failure, whichever layer it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import grpc
import orjson
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from restmap.v1 import restmap_pb2
from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation
from restmap_gateway.schema.schema import ReasonMapping, Schema
from restmap_gateway.transcode.http_response import JSON, HttpResponse
from restmap_gateway.transcode.metadata import RequestIds, ResponseHeaders
from restmap_gateway.upstream.reply import Reply

HTTP_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""HTTP status of each gRPC code, as in ``google/rpc/code.proto``; a descriptor set may say otherwise."""

_FAILURE_CODES: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "INVALID_ARGUMENT"),
    401: ("unauthenticated", "UNAUTHENTICATED"),
    403: ("permission_denied", "PERMISSION_DENIED"),
    404: ("not_found", "NOT_FOUND"),
    405: ("method_not_allowed", "UNIMPLEMENTED"),
    406: ("not_acceptable", "INVALID_ARGUMENT"),
    407: ("proxy_authentication_required", "UNAUTHENTICATED"),
    408: ("request_timeout", "CANCELLED"),
    409: ("conflict", "ABORTED"),
    429: ("too_many_requests", "RESOURCE_EXHAUSTED"),
    499: ("request_timeout", "CANCELLED"),
    500: ("internal", "INTERNAL"),
    501: ("unimplemented", "UNIMPLEMENTED"),
    502: ("bad_gateway", "UNKNOWN"),
    503: ("unavailable", "UNAVAILABLE"),
    504: ("deadline_exceeded", "DEADLINE_EXCEEDED"),
}
"""By HTTP status: the field of `restmap.FailureCodes`, and the gRPC code whose name stands in for an empty one."""

_OUTCOME_UNKNOWN = frozenset(
    {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
)
"""Codes of calls that were cut short. Only a reason can say that such a call changed nothing: its deadline may have
passed, or its connection broken, just behind a commit."""

_NEUTRAL: Mapping[int, str] = {
    408: "The call was cancelled.",
    499: "The call was cancelled.",
    500: "An internal error occurred.",
    501: "The server does not implement this call.",
    503: "The service is not available now; try again later.",
    504: "The deadline passed before the call was answered.",
}
"""Messages in place of texts that gRPC itself wrote: those name addresses and say what library failed."""

DEFAULT_RETRY_AFTER = 1
"""Seconds, on a 503 that does not say."""


@dataclass(frozen=True, slots=True)
class _Details:
    """The ``google.rpc`` details of a status that REST shows something of."""

    info: error_details_pb2.ErrorInfo | None
    violations: Sequence[Violation]
    retry_after: int | None
    is_quota: bool


class Failures:
    """Writes failures with the codes that the descriptor set asks for."""

    def __init__(self, schema: Schema) -> None:
        """Take failure codes and reasons from ``schema``."""
        self._codes = schema.failure_codes or restmap_pb2.FailureCodes()
        self._reasons = schema.reasons
        statuses = schema.conventions.statuses
        self._statuses = {**HTTP_STATUS, **{grpc.StatusCode[name]: status for name, status in statuses.by_code.items()}}
        self._quota_status = statuses.quota
        self._request_ids = RequestIds(schema.conventions.request_id)
        self._response_headers = ResponseHeaders(schema.conventions.response_headers)
        self._knows_outcomes = any(
            reason.nothing_done for reasons in schema.reasons.values() for reason in reasons.values()
        )

    @property
    def statuses(self) -> frozenset[int]:
        """The HTTP statuses that failures of the server can have, but for those that reasons ask for."""
        return frozenset((*self._statuses.values(), self._quota_status)) - {0}

    def of_request(self, failure: RequestFailed | InvalidRequest, request_id: str) -> HttpResponse:
        """The answer to a request that failed in the gateway itself."""
        if isinstance(failure, RequestFailed):
            headers = dict(failure.headers)
            if failure.status == 503:
                headers.setdefault("Retry-After", str(DEFAULT_RETRY_AFTER))
            return _answer(failure.status, self._code(failure.status), failure.message, request_id, headers=headers)
        return _answer(400, self._code(400), str(failure), request_id, violations=failure.violations)

    def of_reply(self, reply: Reply, request_id: str, uncertainty: str) -> HttpResponse:
        """The answer to a call that the server failed, with the request id and the headers that it asks for.

        Args:
            reply: any but OK.
            request_id: the gateway's own.
            uncertainty: as of `of_status`.
        """
        request_id = self._request_ids.of_server(reply.metadata, request_id)
        answer = self.of_status(reply.code, reply.message, reply.details, request_id, uncertainty)
        sent = self._response_headers.of(reply.metadata)
        return replace(answer, headers={**answer.headers, **sent}, request_id=request_id)

    def of_status(
        self, code: grpc.StatusCode, message: str, details: bytes | None, request_id: str, uncertainty: str = ""
    ) -> HttpResponse:
        """The answer to a call that the server failed, or that did not reach it.

        Args:
            code: any but OK.
            message: of the status.
            details: the serialized ``google.rpc.Status`` that came with it, if one did.
            request_id: of the request.
            uncertainty: what to say where nobody knows whether the call changed something; empty: it cannot have.
        """
        known = _read_details(details)
        info, headers = known.info, dict[str, str]()
        mapping = self._mapping(info)
        cause = ""
        if uncertainty and self._is_outcome_unknown(code, mapping):
            code, cause = grpc.StatusCode.UNAVAILABLE, f"{code.name}: {message}"
            message = message if mapping else uncertainty
        status = (mapping and mapping.http_status) or self._status(code, is_quota=known.is_quota)
        if status == 503 or (status == 429 and known.retry_after):
            headers["Retry-After"] = str(known.retry_after or DEFAULT_RETRY_AFTER)
        if not cause and info is None and status in _NEUTRAL:
            message, cause = _NEUTRAL[status], f"{code.name}: {message}"
        shown_code = (mapping and mapping.code) or self._code(status, code)
        reason = info.reason if info else ""
        return _answer(status, shown_code, message, request_id, reason, known.violations, headers, cause)

    def _status(self, code: grpc.StatusCode, *, is_quota: bool) -> int:
        return (is_quota and self._quota_status) or self._statuses.get(code, 500)

    def _is_outcome_unknown(self, code: grpc.StatusCode, mapping: ReasonMapping | None) -> bool:
        """Whether a call that changes something may have done so; without ``nothing_done`` the code alone counts."""
        return self._knows_outcomes and code in _OUTCOME_UNKNOWN and not (mapping and mapping.nothing_done)

    def _mapping(self, info: error_details_pb2.ErrorInfo | None) -> ReasonMapping | None:
        if info is None or info.domain not in self._reasons:
            return None
        found = self._reasons[info.domain].get(info.reason)
        # A newer server may know reasons that our descriptor set does not; its domain is one of ours.
        return found or ReasonMapping(info.metadata.get("code", ""), None)

    def _code(self, status: int, code: grpc.StatusCode | None = None) -> str:
        # A reason can ask for a status that has no failure code of its own: then the general one of its kind.
        name, fallback = _FAILURE_CODES.get(status) or _FAILURE_CODES[400 if status < 500 else 500]
        configured: str = getattr(self._codes, name)
        return configured or (code.name if code else fallback)


def printable(text: str) -> str:
    """The text with bytes that were no UTF-8 written out: what clients send is quoted, and JSON cannot hold all."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _read_details(serialized: bytes | None) -> _Details:
    info, violations, retry_after, is_quota = None, list[Violation](), None, False
    try:
        packed = status_pb2.Status.FromString(serialized or b"").details
    except DecodeError:
        packed = status_pb2.Status().details
    for detail in packed:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            found = error_details_pb2.BadRequest.FromString(detail.value).field_violations
            violations += [Violation(violation.field, violation.description) for violation in found]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after = max(delay.seconds + (delay.nanos > 0), 1)
        elif detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
            is_quota = True
    return _Details(info, violations, retry_after, is_quota)


def _answer(
    status: int,
    code: str,
    message: str,
    request_id: str,
    reason: str = "",
    violations: Sequence[Violation] = (),
    headers: Mapping[str, str] | None = None,
    cause: str = "",
) -> HttpResponse:
    error: dict[str, object] = {"code": code, "message": printable(message)}
    if reason:
        error["reason"] = reason
    if violations:
        error["details"] = [
            {"field": printable(violation.field), "description": printable(violation.description)}
            for violation in violations
        ]
    error["request_id"] = request_id
    body = orjson.dumps({"error": error})
    return HttpResponse(status, body, {**JSON, **(headers or {})}, reason, cause)
