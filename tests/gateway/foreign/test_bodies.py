"""Binding of a body: no body, one field, or all fields that the path does not bind."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.gateway.foreign.foreign import Foreign

TAKEN = [
    # a scalar
    ("PUT /v1/body/text", '"a"', 'text: "a"'),
    ("PUT /v1/body/text", '""', ""),
    ("PUT /v1/body/text", ' "a"\n', 'text: "a"'),
    ("PUT /v1/body/text?yes=true", '"a"', 'text: "a" yes: true'),
    ("PUT /v1/body/int64", "5", "an_int64: 5"),
    ("PUT /v1/body/int64", '"9223372036854775807"', "an_int64: 9223372036854775807"),
    ("PUT /v1/body/optional", "0", "maybe_number: 0"),
    ("PUT /v1/body/enum", '"COLOR_RED"', "color: COLOR_RED"),
    ("PUT /v1/body/enum", "2", "color: COLOR_GREEN"),
    ("PUT /v1/body/bytes", '"-_8"', r'blob: "\373\377"'),
    ("PUT /v1/body/bool", "true", "yes: true"),
    ("PUT /v1/body/double", '"-Infinity"', "a_double: -inf"),
    ("PUT /v1/body/word", '"a"', 'word: "a"'),
    # a message with its own JSON form
    ("PUT /v1/body/wrapper", '"-5"', "int64_box { value: -5 }"),
    ("PUT /v1/body/wrapper", "0", "int64_box {}"),
    ("PUT /v1/body/time", '"1970-01-01T00:00:01Z"', "at { seconds: 1 }"),
    ("PUT /v1/body/struct", '{"a": null}', 'free { fields { key: "a" value { null_value: NULL_VALUE } } }'),
    ("PUT /v1/body/struct", "{}", "free {}"),
    ("PUT /v1/body/value", "null", "value { null_value: NULL_VALUE }"),
    ("PUT /v1/body/value", "[1]", "value { list_value { values { number_value: 1 } } }"),
    # repeated, map
    ("PUT /v1/body/texts", '["a", "b"]', 'texts: "a" texts: "b"'),
    ("PUT /v1/body/texts", "[]", ""),
    ("PUT /v1/body/leaves", '[{"leaf_name": "a"}, {}]', 'leaves { leaf_name: "a" } leaves {}'),
    ("PUT /v1/body/map", '{"a": "b"}', 'labels { key: "a" value: "b" }'),
    ("PUT /v1/body/map", "{}", ""),
    # a message; the query holds the fields that path and body do not bind
    ("PUT /v1/body/x/leaf", '{"leafName": "a", "pageCount": 1}', 'text: "x" leaf { leaf_name: "a" page_count: 1 }'),
    ("PUT /v1/body/x/leaf", "{}", 'text: "x" leaf {}'),
    ("PUT /v1/body/x/leaf?an_int32=1&texts=a&picked.leaf_name=b", "{}",
     'text: "x" an_int32: 1 texts: "a" leaf {} picked { leaf_name: "b" }'),
    # a resource named in the path, as in AIP-134
    ("PATCH /v1/body/leaves/1?mask=page_count", '{"page_count": 2}',
     'leaf { leaf_name: "leaves/1" page_count: 2 } mask { paths: "page_count" }'),
    ("PATCH /v1/body/leaves/1", '{"leaf_name": "leaves/1", "page_count": 2}',
     'leaf { leaf_name: "leaves/1" page_count: 2 }'),
    ("PATCH /v1/body/leaves/1", '{"leafName": "leaves/1"}', 'leaf { leaf_name: "leaves/1" }'),
    ("PATCH /v1/body/leaves/1", '{"leaf_name": null}', 'leaf { leaf_name: "leaves/1" }'),
    ("PATCH /v1/body/leaves/1", '{"next_leaf": {"leaf_name": "2"}}',
     'leaf { leaf_name: "leaves/1" next_leaf { leaf_name: "2" } }'),
    ("PATCH /v1/body/leaves/%C3%A4", '{"leaf_name": "leaves/ä"}', 'leaf { leaf_name: "leaves/ä" }'),
    # everything
    ("POST /v1/all/a", "{}", 'text: "a"'),
    ("POST /v1/all/a", '{"an_int32": 1, "leaf": {"tags": ["x"]}}', 'text: "a" an_int32: 1 leaf { tags: "x" }'),
    ("POST /v1/all/a/b", '{"leaf": {"page_count": 1}}', 'text: "a" leaf { leaf_name: "b" page_count: 1 }'),
    ("POST /v1/all/a/b", '{"leaf": {"leaf_name": "b"}}', 'text: "a" leaf { leaf_name: "b" }'),
    ("POST /v1/all/a/b", '{"leaf": null}', 'text: "a" leaf { leaf_name: "b" }'),
    ("POST /v1/all/a:choose", '{"number": null}', 'word: "a"'),
    # no body: accepted unless the proto has a REQUIRED field in the body
    ("POST /v1/all/a", None, 'text: "a"'),
    ("POST /v1/all/a", "", 'text: "a"'),
    ("POST /v1/all/a/b", None, 'text: "a" leaf { leaf_name: "b" }'),
    ("PUT /v1/body/x/leaf", None, 'text: "x"'),
    ("PUT /v1/body/texts", None, ""),
    ("PUT /v1/body/text", None, ""),
    ("PATCH /v1/body/leaves/1", None, 'leaf { leaf_name: "leaves/1" }'),
    ("PATCH /v1/needs/a", None, 'id: "a"'),
    ("POST /v1/needs/a", '{"leaf": {}}', 'id: "a" leaf {}'),
    ("PUT /v1/needs/a", "{}", 'id: "a" leaf {}'),
    # no body allowed
    ("DELETE /v1/all/a", None, 'text: "a"'),
    ("DELETE /v1/all/a", "", 'text: "a"'),
    ("GET /v1/query", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "body", "text"), TAKEN)
def test_a_body_fills_what_its_rule_says(foreign: Foreign, request_: str, body: str | None, text: str) -> None:
    answer = foreign.call(request_, body)
    assert answer.status == 200, answer.body
    foreign.assert_asked(text)


REFUSED = [
    # invalid JSON
    ("POST /v1/all/a", " ", ""), ("POST /v1/all/a", "\n", ""), ("POST /v1/all/a", "{", ""),
    ("POST /v1/all/a", "{}{}", ""),
    ("POST /v1/all/a", "{'a': 1}", ""), ("POST /v1/all/a", '{"text": }', ""), ("POST /v1/all/a", "{,}", ""),
    ("POST /v1/all/a", '{"yes": true,}', ""), ("POST /v1/all/a", '{"an_int32": 01}', ""),
    ("POST /v1/all/a", "\ufeff{}", ""),
    ("POST /v1/all/a", '{"an_int32": NaN}', ""), ("POST /v1/all/a", '{"a_double": Infinity}', ""),
    ("POST /v1/all/a", '{"maybe_text": "\t"}', ""), ("POST /v1/all/a", '{"maybe_text": "\\x"}', ""),
    ("POST /v1/all/a", '{"maybe_text": "\\ud800"}', ""), ("POST /v1/all/a", "// x\n{}", ""),
    ("POST /v1/all/a", "nul", ""),
    # wrong kind of JSON value
    ("POST /v1/all/a", "[]", ""), ("POST /v1/all/a", "null", ""), ("POST /v1/all/a", '"a"', ""),
    ("POST /v1/all/a", "5", ""),
    ("PUT /v1/body/text", "5", ""), ("PUT /v1/body/text", "null", ""), ("PUT /v1/body/text", "a", ""),
    ("PUT /v1/body/text", '{"text": "a"}', ""), ("PUT /v1/body/int64", '"x"', ""), ("PUT /v1/body/int64", "1.5", ""),
    ("PUT /v1/body/optional", "null", ""), ("PUT /v1/body/enum", '"RED"', ""), ("PUT /v1/body/bytes", '"!"', ""),
    ("PUT /v1/body/bool", '"true"', ""), ("PUT /v1/body/wrapper", '{"value": 1}', ""), ("PUT /v1/body/time", "0", ""),
    ("PUT /v1/body/struct", "[]", ""), ("PUT /v1/body/struct", "null", ""), ("PUT /v1/body/texts", '"a"', ""),
    ("PUT /v1/body/texts", '{"texts": []}', ""), ("PUT /v1/body/texts", '["a", 1]', "[1]"),
    ("PUT /v1/body/texts", "[null]", "[0]"), ("PUT /v1/body/leaves", '[{"nope": 1}]', "[0].nope"),
    ("PUT /v1/body/map", "[]", ""), ("PUT /v1/body/map", '{"a": 1}', '["a"]'), ("PUT /v1/body/x/leaf", "[]", ""),
    ("PUT /v1/body/x/leaf", '{"page_count": "x"}', "page_count"), ("PUT /v1/body/x/leaf", '{"leaf": {}}', "leaf"),
    # also bound by the path
    ("POST /v1/all/a", '{"text": "b"}', "text"), ("POST /v1/all/a", '{"text": "a"}', "text"),
    ("POST /v1/all/a/b", '{"leaf": {"leaf_name": "c"}}', "leaf.leaf_name"),
    ("POST /v1/all/a/b", '{"leaf": {"leafName": "c"}}', "leaf.leafName"),
    ("POST /v1/all/a/b", '{"leaf": {"leaf_name": 5}}', "leaf.leaf_name"),
    ("POST /v1/all/a:choose", '{"number": 1}', "number"), ("POST /v1/all/a:choose", '{"picked": {}}', "picked"),
    ("PATCH /v1/body/leaves/1", '{"leaf_name": "leaves/2"}', "leaf_name"),
    ("PATCH /v1/body/leaves/1", '{"leaf_name": ""}', "leaf_name"),
    ("PATCH /v1/body/leaves/1", '{"leaf_name": "leaves/1", "leafName": "leaves/1"}', "leafName"),
    # query parameters beside the body
    ("POST /v1/all/a?yes=true", "{}", "yes"), ("POST /v1/all/a?text=a", "{}", "text"),
    ("POST /v1/all/a?nope=1", None, "nope"),
    ("PUT /v1/body/text?text=a", '"a"', "text"), ("PUT /v1/body/texts?texts=a", "[]", "texts"),
    ("PUT /v1/body/x/leaf?leaf.page_count=1", "{}", "leaf.page_count"), ("PUT /v1/body/x/leaf?text=x", "{}", "text"),
    ("PUT /v1/body/word?number=1", '"a"', "number"),
    ("PATCH /v1/body/leaves/1?leaf.leaf_name=leaves/1", "{}", "leaf.leaf_name"),
    # body missing where required, or present where not allowed
    ("POST /v1/needs/a", None, ""), ("POST /v1/needs/a", "", ""), ("PUT /v1/needs/a", None, ""),
    ("GET /v1/query", "{}", ""), ("GET /v1/query", " ", ""), ("DELETE /v1/all/a", "{}", ""),
    ("HEAD /v1/query", "{}", None),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "body", "field"), REFUSED)
def test_a_body_that_does_not_fit_is_400_and_names_the_member(
    foreign: Foreign, request_: str, body: str | None, field: str | None
) -> None:
    answer = foreign.call(request_, body)
    if field is None:  # a response to HEAD has no body
        assert (answer.status, foreign.echo.seen) == (400, [])
    else:
        foreign.assert_refused(answer, 400, field)


@pytest.mark.parametrize("body", [b'{"maybe_text": "\xff"}', b"\xff", b"\xfe\xff\x00{\x00}"])
def test_a_body_that_is_not_utf_8_is_a_bad_request(foreign: Foreign, body: bytes) -> None:
    foreign.assert_refused(foreign.call("POST /v1/all/a", body), 400, "")


def test_a_bad_body_and_a_bad_path_are_said_at_once(foreign: Foreign) -> None:
    answer = foreign.call("POST /v1/all/%zz", '{"nope": 1}')
    foreign.assert_refused(answer, 400, "text")


Headers = Sequence[tuple[str, str]]

JSON_TYPES: list[Headers] = [
    [],
    [("Content-Type", "application/json")],
    [("Content-Type", "Application/JSON")],
    [("Content-Type", "application/json; charset=utf-8")],
    [("Content-Type", 'application/json;charset="UTF-8"')],
    [("content-type", "application/json;x=y")],
    [("Content-Type", "application/json"), ("Content-Encoding", "identity")],
]


@pytest.mark.parametrize("headers", JSON_TYPES)
def test_a_body_is_json_in_utf_8_or_says_nothing(foreign: Foreign, headers: Headers) -> None:
    assert foreign.call("POST /v1/all/a", '{"maybe_text": "ä"}', headers).status == 200
    foreign.assert_asked('text: "a" maybe_text: "ä"')


OTHER_TYPES: list[Headers] = [
    [("Content-Type", "text/plain")],
    [("Content-Type", "application/x-www-form-urlencoded")],
    [("Content-Type", "application/jsonp")],
    [("Content-Type", "application/merge-patch+json")],
    [("Content-Type", "application/json; charset=latin-1")],
    [("Content-Type", "application/grpc")],
    [("Content-Type", "json")],
    [("Content-Type", "")],
]


@pytest.mark.parametrize("headers", OTHER_TYPES)
def test_a_body_of_another_type_is_a_bad_request(foreign: Foreign, headers: Headers) -> None:
    foreign.assert_refused(foreign.call("POST /v1/all/a", "{}", headers), 400, "Content-Type")


def test_an_encoded_body_is_a_bad_request(foreign: Foreign) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    foreign.assert_refused(foreign.call("POST /v1/all/a", "{}", headers), 400, "Content-Encoding")


@pytest.mark.parametrize("request_", ["POST /v1/all/a", "DELETE /v1/all/a"])
def test_the_type_of_no_body_does_not_matter(foreign: Foreign, request_: str) -> None:
    assert foreign.call(request_, None, [("Content-Type", "text/plain")]).status == 200
    foreign.assert_asked('text: "a"')


LEGACY_REFUSED = [
    ("POST /v1/cars", "{}", "plate"),
    ("POST /v1/cars", None, ""),
    ("GET /v1/cars?doors=5", None, "plate"),
    ("POST /v1/cars", '{"plate": "a", "towed": [{"plate": "b"}, {"doors": 2}]}', "towed[1].plate"),
    ("POST /v1/cars", '{"plate": "a", "gear": 3}', "gear"),
    ("POST /v1/cars", '{"plate": "a", "gear": "GEAR_SIX"}', "gear"),
    ("GET /v1/cars?plate=a&gear=3", None, "gear"),
    ("POST /v1/cars", '{"plate": "a", "engine": {"power": "x"}}', "engine.power"),
]


@pytest.mark.parametrize(("request_", "body", "field"), LEGACY_REFUSED)
def test_what_proto2_requires_or_closes_is_checked(
    foreign: Foreign, request_: str, body: str | None, field: str
) -> None:
    foreign.assert_refused(foreign.call(request_, body), 400, field)


LEGACY_TAKEN = [
    ("POST /v1/cars", '{"plate": "a"}', 'plate: "a"', {"plate": "a"}),
    ("POST /v1/cars/a", None, 'plate: "a"', {"plate": "a"}),
    ("POST /v1/cars", '{"plate": "", "doors": 0}', 'plate: "" doors: 0', {"plate": "", "doors": 0}),
    ("GET /v1/cars?plate=a&gear=GEAR_TWO", None, 'plate: "a" gear: GEAR_TWO', {"plate": "a", "gear": "GEAR_TWO"}),
    ("POST /v1/cars", '{"plate": "a", "engine": {"power": 1}}', 'plate: "a" Engine { power: 1 }',
     {"plate": "a", "engine": {"power": 1}}),
    ("POST /v1/cars", '{"plate": "a", "gear": null, "doors": null}', 'plate: "a"', {"plate": "a"}),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "body", "text", "written"), LEGACY_TAKEN)
def test_proto2_has_presence_defaults_and_groups(
    foreign: Foreign, request_: str, body: str | None, text: str, written: object
) -> None:
    answer = foreign.call(request_, body)
    assert (answer.status, answer.json) == (200, written)
    foreign.assert_asked(text)
