"""Server replies as JSON: the whole message, or only the field of `response_body`."""

from __future__ import annotations

import base64
import json

import pytest

from tests.gateway.foreign.foreign import Foreign, Json
from tests.gateway.foreign.system import Reply

WRITTEN = [
    ("text", 'text: "a"', "a"),
    ("text", "", ""),
    ("int64", "an_int64: -5", "-5"),
    ("int64", "", "0"),
    ("optional", "maybe_number: 0", 0),
    ("optional", "", None),
    ("enum", "color: COLOR_RED", "COLOR_RED"),
    ("enum", "color: 77", 77),
    ("enum", "", "COLOR_UNSPECIFIED"),
    ("leaf", 'leaf { leaf_name: "a" }', {"leaf_name": "a"}),
    ("leaf", "leaf {}", {}),
    ("leaf", "", None),
    ("texts", 'texts: "a" texts: ""', ["a", ""]),
    ("texts", "", []),
    ("leaves", "leaves {} leaves { page_count: 1 }", [{}, {"page_count": 1}]),
    ("leaves", "", []),
    ("map", 'labels { key: "b" value: "1" } labels { key: "a" value: "" }', {"a": "", "b": "1"}),
    ("map", "", {}),
    ("time", "at { seconds: 1 nanos: 5000000 }", "1970-01-01T00:00:01.005Z"),
    ("time", "", None),
    ("wrapper", "int64_box { value: 7 }", "7"),
    ("wrapper", "int64_box {}", "0"),
    ("wrapper", "", None),
    ("struct", 'free { fields { key: "a" value { null_value: NULL_VALUE } } }', {"a": None}),
    ("struct", "", None),
    ("all", "", {}),
    ("all", 'text: "a" labels { key: "b" value: "" }', {"text": "a", "labels": {"b": ""}}),
    ("all", "color: 5 colors: 6 colors: COLOR_DARK", {"color": 5, "colors": [6, "COLOR_DARK"]}),
    ("all", "value {}", {"value": None}),
    ("all", "none: NULL_VALUE", {}),
    ("all", "a_double: nan a_float: -inf", {"a_double": "NaN", "a_float": "-Infinity"}),
    ("all", "a_float: 3.4028235e38", {"a_float": 3.4028235e38}),
    ("all", "free { fields { key: 'a' value { number_value: 5 } } }", {"free": {"a": 5}}),
    ("all", "value { number_value: 1e300 }", {"value": 1e300}),
    ("all", "picked { smooth: '' }", {"picked": {"smooth": ""}}),
]


@pytest.mark.parametrize(("call", "text", "written"), WRITTEN)
def test_an_answer_is_written_as_json(foreign: Foreign, call: str, text: str, written: Json) -> None:
    foreign.answers("foreign.v1.Everything", text)
    answer = foreign.call(f"GET /v1/answer/{call}")
    assert (answer.status, answer.json) == (200, written)
    assert answer.headers["Content-Type"] == "application/json"


def test_empty_is_an_empty_object(foreign: Foreign) -> None:
    answer = foreign.call("GET /v1/answer/empty")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"{}", "application/json")


def test_an_any_of_a_type_that_is_not_known_is_written_unopened(foreign: Foreign) -> None:
    foreign.answers("foreign.v1.Everything", r'any { type_url: "x.example/nope.Nope" value: "\001" }')
    written = {"@type": "x.example/nope.Nope", "value": base64.b64encode(b"\1").decode()}
    assert foreign.call("GET /v1/answer/all").json == {"any": written}


def test_a_field_that_the_gateway_does_not_know_yet_is_left_out(foreign: Foreign) -> None:
    foreign.echo.reply = Reply(b"\x0a\x01a" + b"\xfa\x3f\x01b")
    assert foreign.call("GET /v1/answer/all").json == {"text": "a"}


UNWRITABLE = [
    b"\x0a",
    b"\xff\xff\xff",
    b"\x0a\x02\xff\xfe",
    b"\x82\x05\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\x00",
]
"""Truncated; no message; text that is not UTF-8; a time far beyond the year 9999."""


@pytest.mark.parametrize("response", UNWRITABLE)
def test_an_unreadable_answer_is_502_for_reads_500_for_changes(foreign: Foreign, response: bytes) -> None:
    foreign.echo.reply = Reply(response)
    assert foreign.call("GET /v1/answer/all").status == 502
    assert foreign.call("POST /v1/answer/all", "{}").status == 500


def test_a_stream_is_a_json_text_a_line(foreign: Foreign) -> None:
    answer = foreign.call("GET /v1/answer/stream?text=a&leaf.page_count=1")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert [json.loads(line) for line in answer.body.splitlines()] == [{"text": "a", "leaf": {"page_count": 1}}] * 2


def test_a_stream_whose_query_does_not_fit_is_a_bad_request(foreign: Foreign) -> None:
    foreign.assert_refused(foreign.call("GET /v1/answer/stream?nope=1"), 400, "nope")
