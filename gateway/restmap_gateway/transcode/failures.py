"""Responses for failures; all failures have one shape, whichever layer they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import grpc
import orjson
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from restmap.v1 import restmap_pb2
from restmap_gateway.crossing.outward import ResponseHeaders
from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation
from restmap_gateway.schema.schema import ReasonMapping, Schema
from restmap_gateway.transcode.http_response import JSON, HttpResponse
from restmap_gateway.transcode.metadata import RequestIds
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
"""HTTP status of each gRPC code, as in ``google/rpc/code.proto``; a descriptor set may override it."""

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
"""By HTTP status: the field of `restmap.FailureCodes`, and the gRPC code whose name replaces an empty field."""

_OUTCOME_UNKNOWN = frozenset(
    {
        *(grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE),
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # gRPC itself also ends calls with it, when a stream is reset
    }
)
"""Codes of interrupted calls. Only a reason can say that such a call changed nothing: its deadline or connection may
have ended just after a commit."""

_NEUTRAL: Mapping[int, str] = {
    408: "The call was cancelled.",
    499: "The call was cancelled.",
    500: "An internal error occurred.",
    501: "The server does not implement this call.",
    503: "The service is not available now; try again later.",
    504: "The deadline passed before the call was answered.",
}
"""Messages that replace texts of gRPC itself, because those texts reveal addresses and the failed library."""

DEFAULT_RETRY_AFTER = 1
"""Seconds for ``Retry-After`` of a 503 without its own value."""


@dataclass(frozen=True, slots=True)
class _Details:
    """The ``google.rpc`` details of a status that REST shows."""

    info: error_details_pb2.ErrorInfo | None
    violations: Sequence[Violation]
    retry_after: int | None
    is_quota: bool


class Failures:
    """Makes failure responses with the codes of the descriptor set."""

    def __init__(self, schema: Schema) -> None:
        """Take failure codes and reasons from ``schema``."""
        self._codes = schema.failure_codes or restmap_pb2.FailureCodes()
        self._reasons = schema.reasons
        statuses = schema.conventions.statuses
        self._statuses = {**HTTP_STATUS, **{grpc.StatusCode[name]: status for name, status in statuses.by_code.items()}}
        self._quota_status = statuses.quota
        form = schema.conventions.request_id
        self._request_ids = RequestIds(form)
        self._response_headers = ResponseHeaders(schema.conventions.response_headers, form.header)
        self._knows_outcomes = any(
            reason.nothing_done for reasons in schema.reasons.values() for reason in reasons.values()
        )

    @property
    def statuses(self) -> frozenset[int]:
        """Return the HTTP statuses for failures of the server, without those that reasons set."""
        return frozenset((*self._statuses.values(), self._quota_status)) - {0}

    def of_request(self, failure: RequestFailed | InvalidRequest, request_id: str) -> HttpResponse:
        """Return the response to a request that failed in the gateway itself."""
        if isinstance(failure, RequestFailed):
            headers = dict(failure.headers)
            if failure.status == 503:
                headers.setdefault("Retry-After", str(DEFAULT_RETRY_AFTER))
            return _answer(failure.status, self._code(failure.status), failure.message, request_id, headers=headers)
        return _answer(400, self._code(400), str(failure), request_id, violations=failure.violations)

    def of_reply(self, reply: Reply, request_id: str, uncertainty: str) -> HttpResponse:
        """Return the response to a failed call, with the request id and the headers that the server sent.

        Args:
            reply: reply with any code but OK.
            request_id: id that the gateway made.
            uncertainty: as in `of_status`.
        """
        request_id = self._request_ids.of_server(reply.metadata, request_id)
        answer = self.of_status(reply.code, reply.message, reply.details, request_id, uncertainty)
        sent = self._response_headers.of(reply.metadata)
        said = {name.lower() for name, _ in sent}
        own = {name: value for name, value in answer.headers.items() if name.lower() not in said}
        return replace(answer, headers=own, request_id=request_id, sent=sent)

    def of_status(
        self, code: grpc.StatusCode, message: str, details: bytes | None, request_id: str, uncertainty: str = ""
    ) -> HttpResponse:
        """Return the response to a call that failed on the server or did not reach it.

        Args:
            code: any code but OK.
            message: message of the status.
            details: the serialized ``google.rpc.Status``, if the reply has one.
            request_id: id of the request.
            uncertainty: message for a call that may have changed something; empty if the call cannot have done so.
        """
        known = _read_details(details)
        info, headers = known.info, dict[str, str]()
        mapping = self._mapping(info)
        cause = ""
        if uncertainty and not known.is_quota and self._is_outcome_unknown(code, mapping):
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
        """Return whether an interrupted call may have changed something; False if no reason has ``nothing_done``."""
        return self._knows_outcomes and code in _OUTCOME_UNKNOWN and not (mapping and mapping.nothing_done)

    def _mapping(self, info: error_details_pb2.ErrorInfo | None) -> ReasonMapping | None:
        if info is None or info.domain not in self._reasons:
            return None
        found = self._reasons[info.domain].get(info.reason)
        # A newer server may have reasons that this descriptor set lacks, in one of its domains.
        return found or ReasonMapping(info.metadata.get("code", ""), None)

    def _code(self, status: int, code: grpc.StatusCode | None = None) -> str:
        # A reason can set a status without a failure code of its own; use the code of 400 or 500 then.
        name, fallback = _FAILURE_CODES.get(status) or _FAILURE_CODES[400 if status < 500 else 500]
        configured: str = getattr(self._codes, name)
        return configured or (code.name if code else fallback)


def printable(text: str) -> str:
    """Return the text with invalid UTF-8 bytes escaped: messages quote client input, and JSON cannot hold all of it."""
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
