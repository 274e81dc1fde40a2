"""All failures of a call as common responses, with their shape, their codes from the descriptor set, and headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from restmap.v1 import restmap_pb2
from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation
from restmap_gateway.openapi.common_parameters import CommonParameters
from restmap_gateway.openapi.components import Components
from restmap_gateway.openapi.values import Json
from restmap_gateway.schema.conventions import RequestIdForm
from restmap_gateway.schema.schema import Schema
from restmap_gateway.transcode.failures import Failures

_UUID = "7d1c2b1e-5f0c-4c8e-9d53-0f6f2f0a6b11"
"""UUID of the request ids in examples, after their prefix."""

_SITUATIONS: Mapping[int, tuple[str, str]] = {
    400: ("The request is invalid, or cannot be carried out now.", "member: expected a string, got 5"),
    401: ("The caller is not authenticated; see `WWW-Authenticate`.", "The token is missing or not known."),
    403: ("The caller is not authorized, or has used up a quota.", "The caller may not do this."),
    404: ("There is no such path or resource.", "There is nothing at this path."),
    405: ("The path is known, the method is not; see `Allow`.", "PUT is not allowed here; GET, HEAD, OPTIONS are."),
    406: (
        "`Accept` does not allow the media type of the response.",
        "The answer is JSON, which 'Accept: text/html' rules out.",
    ),
    408: ("The body did not arrive in time, or a read was cancelled.", "The body did not arrive within 10 seconds."),
    409: ("The resource exists, or was changed meanwhile.", "The resource was changed meanwhile."),
    429: ("A quota is used up, or the server is overloaded.", "There is no room for this call now."),
    499: ("The call was cancelled.", "The call was cancelled."),
    500: ("An internal failure.", "An internal error occurred; the operator finds its cause under {id}."),
    501: ("The server does not implement this call.", "The server does not implement this call."),
    502: (
        "The upstream is not a gRPC server, or its response cannot be read.",
        "The server's answer cannot be read.",
    ),
    503: (
        "The service is down or overloaded, or the outcome of a change is not known; see `Retry-After`.",
        "The service is not available now; try again later.",
    ),
    504: ("The deadline passed.", "The deadline passed before the call was answered."),
}
"""By status: the situation, and an example message in which ``{id}`` is the request id."""

_OF_CODES_ONLY = frozenset({429, 499})
"""Statuses that are described only if a gRPC code maps to them."""

_HEADERS: Mapping[int, Mapping[str, Json]] = {
    401: {"WWW-Authenticate": {"description": "Authentication schemes to use.", "schema": {"type": "string"}}},
    405: {
        "Allow": {
            "description": "Methods that this path accepts.",
            "required": True,
            "schema": {"type": "string", "examples": ["GET, HEAD, OPTIONS"]},
        }
    },
    429: {
        "Retry-After": {
            "description": "Seconds to wait before a retry.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    503: {
        "Retry-After": {
            "description": "Seconds to wait before a retry.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


class FailureResponses:
    """Describes the failures of a service, and the request id in every response."""

    def __init__(self, schema: Schema, components: Components, common: CommonParameters) -> None:
        """Take the codes, statuses and reasons of a schema; the responses become components."""
        self._failures = Failures(schema)
        self._common = common
        self._details = schema.conventions.error_details
        self._components = components
        self._form = schema.conventions.request_id
        self._id = f"{self._form.prefix}{_UUID}"
        reached = self._failures.statuses
        self._known = [status for status in _SITUATIONS if status not in _OF_CODES_ONLY or status in reached]
        self._asked = _asked(schema)

    def headers(self) -> Json:
        """Return the headers of every response, as references."""
        request_id = self._components.own("headers", self._request_id_header, "RequestId")
        return {self._form.header: request_id, **self._common.answer_headers()}

    def body(self) -> Json:
        """Return a reference to the schema of the body of every failure."""
        return error_body(self._components, self._form, self._details)

    def error(self) -> Json:
        """Return a reference to the schema of the one member of that body."""
        return error_description(self._components, self._form, self._details)

    def references(self) -> Json:
        """Return the responses that all operations have, by status."""
        statuses = sorted({*self._known, *self._asked})
        return {str(status): self._response_to(status) for status in statuses}

    def _response_to(self, status: int) -> Json:
        def make() -> Json:
            code = self._asked.get(status)
            return self._known_response(status) if code is None else self._asked_response(status, code)

        return self._components.own("responses", make, f"Failure{status}")

    def _request_id_header(self) -> Json:
        return {
            "description": "Id of the request in the logs; an id sent by the client is logged beside it.",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{self._form.pattern}$", "examples": [self._id]},
        }

    def _known_response(self, status: int) -> Json:
        """Return a response with an example body as the gateway writes it, with the code for the status."""
        description, text = _SITUATIONS[status]
        message = text.replace("{id}", self._id)
        failure: RequestFailed | InvalidRequest = RequestFailed(status, message)
        if status == HTTPStatus.BAD_REQUEST:
            field, _, expected = message.partition(": ")
            failure = InvalidRequest(Violation(field, expected))
        return self._response(status, description, json.loads(self._failures.of_request(failure, self._id).body))

    def _asked_response(self, status: int, code: str) -> Json:
        phrase = _phrase(status)
        return self._response(status, phrase, {"error": {"code": code, "message": phrase, "request_id": self._id}})

    def _response(self, status: int, description: str, example: object) -> Json:
        return {
            "description": description,
            "headers": self.headers() | dict(_HEADERS.get(status, {})),
            "content": {"application/json": {"schema": self.body(), "example": example}},
        }


def error_body(components: Components, form: RequestIdForm, shown: restmap_pb2.ErrorDetails.ValueType) -> Json:
    """Return a reference to the schema of the body of every failure; this schema and its parts become components."""

    def body() -> Json:
        error = error_description(components, form, shown)
        description = "The body of every failure."
        return {"type": "object", "properties": {"error": error}, "required": ["error"], "description": description}

    return components.own("schemas", body, "ErrorResponse", "GatewayErrorResponse")


def error_description(components: Components, form: RequestIdForm, shown: restmap_pb2.ErrorDetails.ValueType) -> Json:
    """Return a reference to the schema of the description of a failure; this schema becomes a component."""

    def content() -> Json:
        details: Json = {"description": "All invalid members of the request."}
        if shown == restmap_pb2.ERROR_DETAILS_DOCUMENTED:
            items = components.own("schemas", _violation, "FieldViolation", "GatewayFieldViolation")
        else:
            items = components.own("schemas", _detail, "ErrorDetail", "GatewayErrorDetail")
            details = {"description": "All details of the failure; invalid members are in a `google.rpc.BadRequest`."}
        members: Json = {
            "code": {"type": "string", "description": "Code of the failure, for programs."},
            "message": {"type": "string", "description": "Description of the failure, for people."},
            "reason": {"type": "string", "description": "Reason of the server, in UPPER_SNAKE_CASE."},
            "details": {"type": "array", "items": items, **details},
            "request_id": {"type": "string", "description": f"The same id as in the header `{form.header}`."},
        }
        required = ["code", "message", "request_id"]
        return {"type": "object", "properties": members, "required": required, "description": "A failure."}

    return components.own("schemas", content, "ErrorDescription", "GatewayErrorDescription")


def _violation() -> Json:
    members: Json = {
        "field": {"type": "string", "description": "Path of the member as it was sent; empty for the whole body."},
        "description": {"type": "string", "description": "The error, and the expected value."},
    }
    description = "An invalid member of a request."
    return {
        "type": "object",
        "properties": members,
        "required": ["field", "description"],
        "description": description,
    }


def _detail() -> Json:
    members: Json = {"@type": {"type": "string", "description": "Type of the detail, at the end of a URL."}}
    description = (
        "A detail of a failure, as in the JSON of `google.rpc.Status`: the fields of a message beside its type. A type"
        " that the gateway does not know has its bytes in the member `value`, in base64."
    )
    return {
        "type": "object",
        "properties": members,
        "required": ["@type"],
        "additionalProperties": True,
        "description": description,
    }


def _asked(schema: Schema) -> dict[int, str]:
    """Return the statuses that only options of this service set, each with the code of one of its failures."""
    statuses = schema.conventions.statuses
    asked = {status: code for code, status in statuses.by_code.items() if status not in _SITUATIONS}
    if statuses.quota and statuses.quota not in _SITUATIONS:
        asked[statuses.quota] = "RESOURCE_EXHAUSTED"
    for reasons in schema.reasons.values():
        for name, reason in reasons.items():
            if reason.http_status is not None and reason.http_status not in _SITUATIONS:
                asked.setdefault(reason.http_status, reason.code or name)
    return asked


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
