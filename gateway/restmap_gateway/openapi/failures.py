"""Every way a call can fail, as common responses: one shape, a code of the descriptor set, the headers it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation
from restmap_gateway.openapi.schemas import reference
from restmap_gateway.openapi.values import Json
from restmap_gateway.schema.schema import Schema
from restmap_gateway.transcode.answers import Failures
from restmap_gateway.transcode.headers import REQUEST_ID

BODY = "error-body"
"""Name of the schema of all failures; no message has a ``-`` in its own."""

_ID = "req-7d1c2b1e-5f0c-4c8e-9d53-0f6f2f0a6b11"
_ID_PATTERN = "^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

_SITUATIONS: Mapping[int, tuple[str, str]] = {
    400: ("The request is not what is expected, or cannot be met now.", "member: expected a string, got 5"),
    401: ("The caller is not known; see `WWW-Authenticate`.", "The token is missing or not known."),
    403: ("The caller may not do this, or has used up a quota.", "The caller may not do this."),
    404: ("There is no such path or resource.", "There is nothing at this path."),
    405: ("The path is known, the method is not; see `Allow`.", "PUT is not allowed here; GET, HEAD, OPTIONS are."),
    406: (
        "`Accept` rules out what this call answers with.",
        "The answer is JSON, which 'Accept: text/html' rules out.",
    ),
    408: ("The body did not arrive in time, or a read was cancelled.", "The body did not arrive within 10 seconds."),
    409: ("The resource exists, or was changed meanwhile.", "The resource was changed meanwhile."),
    500: ("An internal failure.", f"An internal error occurred; the operator finds its cause under {_ID}."),
    501: ("The server behind lacks this call.", "The server does not implement this call."),
    502: (
        "What answers behind is not the server, or its answer cannot be read.",
        "The server's answer cannot be read.",
    ),
    503: (
        "The service is down or overloaded, or the outcome of a change is not known; see `Retry-After`.",
        "The service is not available now; try again later.",
    ),
    504: ("The deadline passed.", "The deadline passed before the call was answered."),
}
"""By status: when it happens, and a message as an example."""

_HEADERS: Mapping[int, Mapping[str, Json]] = {
    401: {"WWW-Authenticate": {"description": "How to get in.", "schema": {"type": "string"}}},
    405: {
        "Allow": {
            "description": "The methods that this path takes.",
            "required": True,
            "schema": {"type": "string", "examples": ["GET, HEAD, OPTIONS"]},
        }
    },
    503: {
        "Retry-After": {
            "description": "Seconds to wait before another try.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def request_id_header() -> Json:
    """The header that every answer has, as a component."""
    return {
        "description": "Traces the request through every log; give one with the request to choose it.",
        "required": True,
        "schema": {"type": "string", "pattern": _ID_PATTERN, "examples": [_ID]},
    }


def all_answers_headers() -> Json:
    """The headers of every answer, as references."""
    return {REQUEST_ID: reference("headers", REQUEST_ID)}


def error_schema() -> Json:
    """The schema of the body of every failure."""
    violation: Json = {
        "type": "object",
        "properties": {
            "field": {"type": "string", "description": "Path of the member as it was sent; empty for the whole body."},
            "description": {"type": "string", "description": "What is wrong with it, and what is expected."},
        },
        "required": ["field", "description"],
    }
    members: Json = {
        "code": {"type": "string", "description": "What failed, for programs."},
        "message": {"type": "string", "description": "What failed, for people."},
        "reason": {"type": "string", "description": "Why the server refused, in UPPER_SNAKE_CASE."},
        "details": {"type": "array", "items": violation, "description": "Every member of the request that is wrong."},
        "request_id": {"type": "string", "description": f"As in the header `{REQUEST_ID}`."},
    }
    error: Json = {"type": "object", "properties": members, "required": ["code", "message", "request_id"]}
    return {"title": "Error", "type": "object", "properties": {"error": error}, "required": ["error"]}


def failure_responses(schema: Schema) -> Json:
    """The responses of all failures as components, each by the name that `failure_references` refers to."""
    failures = Failures(schema)
    found: Json = {_name(status): _known_response(status, failures) for status in _SITUATIONS}
    return found | {_name(status): _asked_response(status, code) for status, code in _asked(schema).items()}


def failure_references(schema: Schema) -> Json:
    """What the responses of every operation have in common."""
    return {str(status): reference("responses", _name(status)) for status in _statuses(schema)}


def _statuses(schema: Schema) -> list[int]:
    """Those that every service can answer, and those that reasons of this one ask for."""
    return sorted({*_SITUATIONS, *_asked(schema)})


def _asked(schema: Schema) -> dict[int, str]:
    """The statuses that only reasons of this service ask for, each with the code of one such reason."""
    asked: dict[int, str] = {}
    for reasons in schema.reasons.values():
        for name, reason in reasons.items():
            if reason.http_status is not None and reason.http_status not in _SITUATIONS:
                asked.setdefault(reason.http_status, reason.code or name)
    return asked


def _name(status: int) -> str:
    return f"failure-{status}"


def _known_response(status: int, failures: Failures) -> Json:
    """With the body as the gateway writes it, so with the code it would have."""
    description, message = _SITUATIONS[status]
    failure: RequestFailed | InvalidRequest = RequestFailed(status, message)
    if status == HTTPStatus.BAD_REQUEST:
        field, _, expected = message.partition(": ")
        failure = InvalidRequest(Violation(field, expected))
    return _response(status, description, json.loads(failures.of_request(failure, _ID).body))


def _asked_response(status: int, code: str) -> Json:
    phrase = _phrase(status)
    return _response(status, phrase, {"error": {"code": code, "message": phrase, "request_id": _ID}})


def _response(status: int, description: str, example: object) -> Json:
    return {
        "description": description,
        "headers": all_answers_headers() | dict(_HEADERS.get(status, {})),
        "content": {"application/json": {"schema": reference("schemas", BODY), "example": example}},
    }


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
