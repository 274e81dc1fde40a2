"""HTTP response for each gRPC code of a foreign server, with and without details."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import Reply

Code = grpc.StatusCode
SAID = "It did not work."

STATUSES = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


def failure(code: Code, *details: Message) -> Reply:
    """Return a failure; ``details`` are sent as a ``google.rpc.Status``."""
    if not details:
        return Reply(code=code, message=SAID)
    status = Status(code=code.value[0], message=SAID)
    for detail in details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    return Reply(b"", code, SAID, (("grpc-status-details-bin", status.SerializeToString()),))


INFO = ErrorInfo(reason="SHELF_LOST", domain="library.example", metadata={"code": "not ours to show"})


def test_every_code_has_its_status() -> None:
    assert set(STATUSES) == set(Code) - {Code.OK}


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_a_failure_without_details_has_the_status_of_its_code(foreign: Foreign, code: Code, status: int) -> None:
    foreign.echo.reply = failure(code)
    answer = foreign.call("GET /v1/answer/all")
    assert (answer.status, answer.json["error"]["code"]) == (status, code.name)
    assert answer.headers["Content-Type"] == "application/json"
    assert ("Retry-After" in answer.headers) is (status == 503)


@pytest.mark.parametrize("code", [code for code, status in STATUSES.items() if status not in (499, 500, 501, 503, 504)])
def test_what_the_server_says_about_the_request_is_passed_on(foreign: Foreign, code: Code) -> None:
    foreign.echo.reply = failure(code)
    assert foreign.call("GET /v1/answer/all").json["error"]["message"] == SAID


@pytest.mark.parametrize("code", [code for code, status in STATUSES.items() if status in (499, 500, 501, 503, 504)])
def test_what_a_library_may_have_said_is_not_passed_on(foreign: Foreign, code: Code) -> None:
    foreign.echo.reply = failure(code)
    assert SAID not in foreign.call("GET /v1/answer/all").json["error"]["message"]


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_a_failure_with_details_keeps_its_status_and_reason(foreign: Foreign, code: Code, status: int) -> None:
    foreign.echo.reply = failure(code, INFO)
    error = foreign.call("GET /v1/answer/all").json["error"]
    assert (error["code"], error["message"], error["reason"]) == (code.name, SAID, "SHELF_LOST")
    assert foreign.call("HEAD /v1/answer/all").status == status


def test_field_violations_are_shown(foreign: Foreign) -> None:
    violation = BadRequest.FieldViolation(field="leaf.leaf_name", description="too long")
    foreign.echo.reply = failure(Code.INVALID_ARGUMENT, BadRequest(field_violations=[violation]))
    error = foreign.call("GET /v1/answer/all").json["error"]
    assert error["details"] == [{"field": "leaf.leaf_name", "description": "too long"}]


def test_a_quota_that_is_used_up_is_429(foreign: Foreign) -> None:
    foreign.echo.reply = failure(Code.RESOURCE_EXHAUSTED, QuotaFailure())
    assert foreign.call("GET /v1/answer/all").status == 429


@pytest.mark.parametrize(("seconds", "nanos", "shown"), [(7, 0, "7"), (6, 1, "7"), (0, 5, "1")])
def test_a_time_to_retry_is_passed_on(foreign: Foreign, seconds: int, nanos: int, shown: str) -> None:
    delay = RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos))
    foreign.echo.reply = failure(Code.UNAVAILABLE, delay)
    assert foreign.call("GET /v1/answer/all").headers["Retry-After"] == shown


def test_details_that_cannot_be_read_do_no_harm(foreign: Foreign) -> None:
    foreign.echo.reply = Reply(b"", Code.NOT_FOUND, SAID, (("grpc-status-details-bin", b"\xff"),))
    assert foreign.call("GET /v1/answer/all").status == 404
