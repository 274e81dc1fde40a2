"""Details of failed calls in error bodies: documented, full and debug."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as rpc
from google.rpc.status_pb2 import Status

from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import Reply
from tests.gateway.foreign.test_upstream_errors import INFO, SAID, failure

Code = grpc.StatusCode
CALL = "GET /v1/answer/all"
SECRET = "SELECT * FROM secrets failed at 10.0.0.3"

DETAILS: tuple[Message, ...] = (
    INFO,
    rpc.RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000)),
    rpc.DebugInfo(stack_entries=["main.go:1", "db.go:2"], detail="a detail"),
    rpc.QuotaFailure(violations=[rpc.QuotaFailure.Violation(subject="project:a", description="Used up.")]),
    rpc.PreconditionFailure(
        violations=[rpc.PreconditionFailure.Violation(type="TOS", subject="a", description="Accept them.")]
    ),
    rpc.BadRequest(field_violations=[rpc.BadRequest.FieldViolation(field="a.b", description="too \u00e9")]),
    rpc.RequestInfo(request_id="r-1", serving_data="x"),
    rpc.ResourceInfo(resource_type="shelf", resource_name="shelves/1", owner="o", description="d"),
    rpc.Help(links=[rpc.Help.Link(description="Read this.", url="https://a.example")]),
    rpc.LocalizedMessage(locale="de-CH", message="Es ging nicht."),
)


@pytest.fixture(scope="module")
def full(start: NewForeign) -> Foreign:
    """Service without restmap options, behind a gateway with full details."""
    return start("everything", error_details="full")


@pytest.fixture(scope="module")
def debug(start: NewForeign) -> Foreign:
    """The same behind a gateway that hides nothing."""
    return start("everything", error_details="debug")


def error(foreign: Foreign, reply: Reply, call: str = CALL) -> Any:  # noqa: ANN401 - parsed JSON
    """Return the error of a call with this reply."""
    foreign.echo.reply = reply
    found = foreign.call(call).json["error"]
    assert list(found)[:2] == ["code", "message"]
    return found


def saying(message: str, code: Code, *details: Message) -> Reply:
    """Return a failure with this message."""
    reply = failure(code, *details)
    return Reply(reply.response, code, message, reply.trailers)


def test_every_detail_of_google_rpc_is_there() -> None:
    names = {one.full_name for one in rpc.DESCRIPTOR.message_types_by_name.values()}
    assert {one.DESCRIPTOR.full_name for one in DETAILS} == names


def test_full_details_are_the_json_of_the_status(full: Foreign) -> None:
    found = error(full, failure(Code.FAILED_PRECONDITION, *DETAILS))
    status = json_format.ParseDict({"details": found["details"]}, Status())
    expected = [Packed() for _ in DETAILS]
    for packed, detail in zip(expected, DETAILS, strict=True):
        packed.Pack(detail)
    assert list(status.details) == expected
    assert found["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "3.500s"}
    assert (found["message"], found["reason"]) == ("Es ging nicht.", "SHELF_LOST")


def test_a_type_of_the_set_is_written_by_its_fields(full: Foreign) -> None:
    leaf = full.message("foreign.v1.Leaf", 'leaf_name: "a" page_count: 3')
    found = error(full, failure(Code.NOT_FOUND, leaf))
    assert found["details"] == [{"@type": "type.googleapis.com/foreign.v1.Leaf", "leaf_name": "a", "page_count": 3}]
    assert found["message"] == SAID


@pytest.mark.parametrize(
    ("type_url", "value"),
    [("type.googleapis.com/unknown.v1.Thing", b"\x08\x01\xff"), ("type.googleapis.com/google.rpc.Help", b"\xff")],
)
def test_details_that_cannot_be_read_keep_their_bytes(full: Foreign, type_url: str, value: bytes) -> None:
    status = Status(code=5, message=SAID, details=[Packed(type_url=type_url, value=value)])
    if type_url.endswith("Help"):
        status.details[0].type_url = "a.example/foreign.v1.Leaf"
    found = error(full, Reply(b"", Code.NOT_FOUND, SAID, (("grpc-status-details-bin", status.SerializeToString()),)))
    shown = base64.b64encode(value).decode()
    assert found["details"] == [{"@type": status.details[0].type_url, "value": shown}]


def test_a_detail_without_json_keeps_its_bytes(full: Foreign) -> None:
    late = full.message("foreign.v1.Everything", "at { seconds: 999999999999 }")
    (detail,) = error(full, failure(Code.NOT_FOUND, late))["details"]
    assert base64.b64decode(detail["value"]) == late.SerializeToString()


def test_a_detail_that_is_nested_deeply_keeps_its_bytes(full: Foreign) -> None:
    packed = Packed(type_url="type.googleapis.com/foreign.v1.Leaf")
    for _ in range(300):
        outer = Packed()
        outer.Pack(packed)
        packed = outer
    status = Status(code=5, message=SAID, details=[packed])
    found = error(full, Reply(b"", Code.NOT_FOUND, SAID, (("grpc-status-details-bin", status.SerializeToString()),)))
    assert base64.b64decode(found["details"][0]["value"]) == packed.value


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS])
@pytest.mark.parametrize("details", [(), (INFO,), (INFO, rpc.DebugInfo(detail=SECRET), rpc.Help())])
def test_full_hides_the_texts_of_defects(full: Foreign, code: Code, details: tuple[Message, ...]) -> None:
    full.echo.reply = saying(SECRET, code, *details)
    answer = full.call(CALL)
    assert answer.status == 500
    assert SECRET.encode() not in answer.body
    assert [one["@type"].rpartition(".")[2] for one in answer.json["error"].get("details", [])] == [
        one.DESCRIPTOR.name for one in details if not isinstance(one, rpc.DebugInfo)
    ]


def test_a_localized_message_of_a_defect_is_shown(full: Foreign) -> None:
    found = error(full, saying(SECRET, Code.INTERNAL, rpc.LocalizedMessage(locale="en", message="Sorry.")))
    assert found["message"] == "Sorry."


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.UNIMPLEMENTED, Code.DEADLINE_EXCEEDED, Code.CANCELLED])
def test_full_hides_what_a_library_may_have_said(full: Foreign, code: Code) -> None:
    assert SECRET not in error(full, saying(SECRET, code))["message"]
    assert error(full, saying(SAID, code, rpc.RetryInfo()))["message"] == SAID


@pytest.mark.parametrize("code", [Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS, Code.UNAVAILABLE])
def test_debug_hides_nothing(debug: Foreign, code: Code) -> None:
    assert error(debug, saying(SECRET, code))["message"] == SECRET
    found = error(debug, saying(SECRET, code, rpc.DebugInfo(detail=SECRET)))
    assert (found["message"], found["details"][0]["detail"]) == (SECRET, SECRET)


def test_documented_details_are_the_default(foreign: Foreign) -> None:
    found = error(foreign, failure(Code.FAILED_PRECONDITION, *DETAILS))
    assert found["details"] == [{"field": "a.b", "description": "too \u00e9"}]
    assert (found["message"], found["reason"]) == (SAID, "SHELF_LOST")


def test_the_gateways_own_violations_have_the_same_shape(full: Foreign) -> None:
    (detail,) = full.call("GET /v1/query?nope=1").json["error"]["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [one["field"] for one in detail["field_violations"]] == ["nope"]
    assert "details" not in full.call("GET /nothing").json["error"]


def test_the_option_of_the_set_counts_and_the_setting_wins(start: NewForeign) -> None:
    for settings, is_full in (({}, True), ({"error_details": "documented"}, False)):
        foreign = start("system", **settings)
        found = error(foreign, failure(Code.NOT_FOUND, rpc.Help()), "GET /v1/things/cup")
        assert ("details" in found) is is_full


def test_a_failing_stream_has_full_details(full: Foreign) -> None:
    full.echo.reply = failure(Code.NOT_FOUND, INFO)
    answer = full.call("GET /v1/answer/stream?text=a")
    assert b"google.rpc.ErrorInfo" in answer.body
