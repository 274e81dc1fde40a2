"""Well-known types, read and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format

from restmap_gateway.json_map import dumps

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

Refusal = Callable[[str, str], str]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-05-06",
        "2024-05-06T07:08:09",
        "2024-05-06 07:08:09Z",
        "2024-05-06t07:08:09Z",
        "2024-05-06T07:08:09z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09.1234567890Z",
        "2024-05-06T07:08:09,5Z",
        "2024-05-06T07:08:09+0100",
        "2024-05-06T07:08:09+24:00",
        "2024-05-06T07:08:09+01:60",
        "2024-05-06T07:08Z",
        "2024-13-06T07:08:09Z",
        "2024-02-30T07:08:09Z",
        "2023-02-29T07:08:09Z",
        "2024-05-06T24:00:00Z",
        "2024-05-06T23:59:60Z",
        "0000-05-06T07:08:09Z",
        "10000-05-06T07:08:09Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        " 2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09Z\\n",
        "٢٠٢٤-05-06T07:08:09Z",
    ],
)
def test_what_is_no_rfc3339_time_is_refused(kitchen_refusal: Refusal, text: str) -> None:
    assert kitchen_refusal("WellKnown", f'{{"time": "{text}"}}').startswith("time: expected a")


def test_a_time_that_is_a_number_is_refused(kitchen_refusal: Refusal) -> None:
    expected = "an RFC 3339 time such as 2024-05-06T07:08:09.123Z"
    assert kitchen_refusal("WellKnown", '{"time": 5}') == f"time: expected {expected}, got the number 5"


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T01:00:00+01:00", 0, 0),
        ("1969-12-31T14:15:00-09:45", 0, 0),
        ("1970-01-01T00:00:00.5Z", 0, 500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 0, 1),
        ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
        ("0001-01-01T00:00:00Z", -62135596800, 0),
        ("9999-12-31T23:59:59.999999999Z", 253402300799, 999_999_999),
    ],
)
def test_a_time_is_seconds_and_nanos_since_1970(kitchen: Kitchen, text: str, seconds: int, nanos: int) -> None:
    time = kitchen.read("WellKnown", f'{{"time": "{text}"}}').time
    assert (time.seconds, time.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    ("nanos", "fraction"),
    [
        (0, ""),
        (120_000_000, ".120"),
        (1_000_000, ".001"),
        (1_000, ".000001"),
        (1, ".000000001"),
        (999_999_999, ".999999999"),
    ],
)
def test_a_time_is_written_with_no_three_six_or_nine_digits(kitchen: Kitchen, nanos: int, fraction: str) -> None:
    message = kitchen.new("WellKnown")
    message.time.seconds, message.time.nanos = -62135596800, nanos
    assert kitchen.write(message) == {"time": f"0001-01-01T00:00:00{fraction}Z"}


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-62135596801, 0), (253402300800, 0), (2**63 - 1, 0), (0, -1), (0, 10**9)]
)
def test_a_time_that_has_no_text_is_not_written(kitchen: Kitchen, seconds: int, nanos: int) -> None:
    message = kitchen.new("WellKnown")
    message.time.seconds, message.time.nanos = seconds, nanos
    with pytest.raises(ValueError, match="0001 to 9999"):
        kitchen.write(message)


@pytest.mark.parametrize(
    "text", ["", "1", "1.s", ".5s", "+1s", "1S", " 1s", "1s ", "1.0000000000s", "--1s", "1e3s", "1m"]
)
def test_what_is_no_duration_is_refused(kitchen_refusal: Refusal, text: str) -> None:
    said = kitchen_refusal("WellKnown", f'{{"duration": "{text}"}}')
    assert said == f'duration: expected a duration in seconds such as 1.5s, got "{text}"'


@pytest.mark.parametrize("text", ["315576000001s", "-315576000000.000000001s"])
def test_a_duration_beyond_ten_thousand_years_is_refused(kitchen_refusal: Refusal, text: str) -> None:
    assert "at most 315576000000s" in kitchen_refusal("WellKnown", f'{{"duration": "{text}"}}')


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("0s", 0, 0),
        ("1.5s", 1, 500_000_000),
        ("-1.5s", -1, -500_000_000),
        ("-0.000000001s", 0, -1),
        ("315576000000s", 315576000000, 0),
    ],
)
def test_seconds_and_nanos_of_a_duration_have_one_sign(kitchen: Kitchen, text: str, seconds: int, nanos: int) -> None:
    duration = kitchen.read("WellKnown", f'{{"duration": "{text}"}}').duration
    assert (duration.seconds, duration.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [(0, 0, "0s"), (1, 500_000_000, "1.500s"), (0, -1000, "-0.000001s"), (-3, -1, "-3.000000001s")],
)
def test_a_duration_is_written_with_no_three_six_or_nine_digits(
    kitchen: Kitchen, seconds: int, nanos: int, text: str
) -> None:
    message = kitchen.new("WellKnown")
    message.duration.SetInParent()
    message.duration.seconds, message.duration.nanos = seconds, nanos
    assert kitchen.write(message) == {"duration": text}


@pytest.mark.parametrize(("seconds", "nanos"), [(1, -1), (-1, 1), (315576000001, 0), (0, 10**9)])
def test_a_duration_that_has_no_text_is_not_written(kitchen: Kitchen, seconds: int, nanos: int) -> None:
    message = kitchen.new("WellKnown")
    message.duration.seconds, message.duration.nanos = seconds, nanos
    with pytest.raises(ValueError, match="no duration"):
        kitchen.write(message)


@pytest.mark.parametrize("text", ["a_b", ",", "a,", "a..b", ".a", "A", "a b", "**", "a.*", "a.B"])
def test_what_is_no_camel_case_path_is_refused(kitchen_refusal: Refusal, text: str) -> None:
    assert kitchen_refusal("WellKnown", f'{{"mask": "{text}"}}').startswith(
        "mask: expected field paths in lowerCamelCase"
    )


@pytest.mark.parametrize(
    ("text", "paths"), [("", []), ("a", ["a"]), ("*", ["*"]), ("userName.firstName,x1", ["user_name.first_name", "x1"])]
)
def test_a_field_mask_is_camel_case_both_ways(kitchen: Kitchen, text: str, paths: list[str]) -> None:
    message = kitchen.read("WellKnown", f'{{"mask": "{text}"}}')
    assert (list(message.mask.paths), kitchen.write(message)) == (paths, {"mask": text})


@pytest.mark.parametrize("path", ["aB", "a__b", "a_1", "_a", "a_"])
def test_a_field_mask_that_would_not_read_back_is_not_written(kitchen: Kitchen, path: str) -> None:
    message = kitchen.new("WellKnown")
    message.mask.paths.append(path)
    with pytest.raises(ValueError, match="lowerCamelCase"):
        kitchen.write(message)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"struct": []}', "struct: expected an object, got an array"),
        ('{"list": {}}', "list: expected an array, got an object"),
        (
            '{"struct": {"a": [1, 1e400]}}',
            "struct.a[1]: expected a number within the range of a 64-bit float, got the number 1E+400",
        ),
        (
            '{"list": [{"b c": 1e400}]}',
            'list[0]["b c"]: expected a number within the range of a 64-bit float, got the number 1E+400',
        ),
    ],
)
def test_what_does_not_fit_into_free_json_is_named_by_its_path(kitchen_refusal: Refusal, body: str, said: str) -> None:
    assert kitchen_refusal("WellKnown", body) == said


@pytest.mark.parametrize("field", ["value", "list", "struct"])
def test_free_json_comes_back_as_it_was(kitchen: Kitchen, field: str) -> None:
    inside = '{"a":[null,true,false,1,-1.5,"x",{},[],{"b":{"c":[]}}],"z":0.25}'
    body = f'{{"{field}":' + (f"[{inside}]" if field == "list" else inside) + "}"
    assert kitchen.text(kitchen.read("WellKnown", body)) == body


def test_null_is_a_value_of_google_protobuf_value(kitchen: Kitchen) -> None:
    message = kitchen.read("WellKnown", '{"value": null}')
    assert (message.value.WhichOneof("kind"), kitchen.write(message)) == ("null_value", {"value": None})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_json_cannot_hold_is_not_written_in_free_json(kitchen: Kitchen, number: float) -> None:
    message = kitchen.new("WellKnown")
    message.value.number_value = number
    with pytest.raises(ValueError, match="JSON has no number"):
        kitchen.write(message)


def test_a_value_without_kind_is_written_as_null(kitchen: Kitchen) -> None:
    message = kitchen.new("WellKnown")
    message.value.SetInParent()
    assert kitchen.write(message) == {"value": None}


WRAPPED: list[tuple[str, str, Any]] = [
    ("a_bool", "false", False),
    ("a_bytes", '"+/8="', "+/8="),
    ("a_double", "0.0", 0.0),
    ("a_float", "0.1", 0.1),
    ("an_int32", "0", 0),
    ("an_int64", "0", "0"),
    ("a_string", '""', ""),
    ("a_uint32", "4294967295", 4294967295),
    ("a_uint64", "18446744073709551615", "18446744073709551615"),
]


@pytest.mark.parametrize(("field", "value", "written"), WRAPPED)
def test_a_wrapper_is_its_bare_value_also_at_the_default(
    kitchen: Kitchen, field: str, value: str, written: object
) -> None:
    assert kitchen.write(kitchen.read("WellKnown", f'{{"{field}": {value}}}')) == {field: written}


def test_a_wrapper_of_a_wrong_value_is_refused_at_its_own_path(kitchen_refusal: Refusal) -> None:
    assert kitchen_refusal("WellKnown", '{"a_string": {"value": "x"}}') == "a_string: expected a string, got an object"


def test_a_null_wrapper_is_absent(kitchen: Kitchen) -> None:
    assert not kitchen.read("WellKnown", '{"a_string": null}').HasField("a_string")


def test_empty_is_an_empty_object(kitchen: Kitchen) -> None:
    assert kitchen.write(kitchen.read("WellKnown", '{"empty": {}}')) == {"empty": {}}


def test_empty_has_no_members(kitchen_refusal: Refusal) -> None:
    assert kitchen_refusal("WellKnown", '{"empty": {"a": 1}}') == "empty.a: is not known here"


ANY = "type.googleapis.com"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", "any: expected an object, got an array"),
        ('{"node_name": "x"}', 'any["@type"]: is missing, expected the type of the message'),
        ('{"@type": 5}', 'any["@type"]: expected a string, got the number 5'),
        ('{"@type": "kitchen.v1.Node"}', 'any["@type"]: expected a type such as'),
        (f'{{"@type": "{ANY}/x.Y"}}', 'any["@type"]: there is no message type "x.Y" here'),
        (f'{{"@type": "{ANY}/kitchen.v1.Node", "nope": 1}}', "any.nope: is not known here"),
        (f'{{"@type": "{ANY}/kitchen.v1.Node", "node_name": 1}}', "any.node_name: expected a string"),
        (f'{{"@type": "{ANY}/google.protobuf.Duration"}}', "any.value: is missing"),
        (f'{{"@type": "{ANY}/google.protobuf.Duration", "value": 1}}', "any.value: expected a duration"),
        (f'{{"@type": "{ANY}/google.protobuf.Duration", "seconds": 1}}', "any.seconds: is not known here"),
    ],
)
def test_an_any_that_does_not_fit_is_refused_with_its_path(kitchen_refusal: Refusal, value: str, said: str) -> None:
    assert kitchen_refusal("Boxed", f'{{"any": {value}}}').startswith(said)


@pytest.mark.parametrize(
    "inside",
    [
        "{}",
        f'{{"@type":"{ANY}/google.protobuf.Empty"}}',
        f'{{"@type":"{ANY}/kitchen.v1.Node","node_name":"x","next_node":{{}}}}',
        f'{{"@type":"{ANY}/google.protobuf.Duration","value":"1.500s"}}',
        f'{{"@type":"{ANY}/google.protobuf.Int64Value","value":"5"}}',
        f'{{"@type":"{ANY}/google.protobuf.Value","value":null}}',
        f'{{"@type":"{ANY}/google.protobuf.Struct","value":{{"a":[1]}}}}',
        f'{{"@type":"{ANY}/google.protobuf.Any","value":{{"@type":"{ANY}/kitchen.v1.Node"}}}}',
    ],
)
def test_an_any_is_the_json_of_what_it_holds_as_in_json_format(kitchen: Kitchen, inside: str) -> None:
    body = f'{{"any":{inside}}}'
    message = kitchen.read("Boxed", body)
    assert kitchen.text(message) == body
    written = json_format.MessageToDict(message, descriptor_pool=kitchen.pool, preserving_proto_field_name=True)
    assert written == json.loads(body)
    assert json_format.Parse(body, kitchen.new("Boxed"), descriptor_pool=kitchen.pool) == message


def test_an_any_of_a_type_that_is_not_known_is_written_unopened(kitchen: Kitchen) -> None:
    message = kitchen.new("Boxed")
    message.any.type_url, message.any.value = "type.googleapis.com/x.Y", b"\x00"
    assert kitchen.write(message) == {"any": {"@type": "type.googleapis.com/x.Y", "value": "AA=="}}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("google.protobuf.Timestamp", '"1970-01-01T00:00:00Z"'),
        ("google.protobuf.Duration", '"1s"'),
        ("google.protobuf.Struct", '{"a":1}'),
        ("google.protobuf.Value", "null"),
        ("google.protobuf.StringValue", '"x"'),
        ("google.protobuf.Empty", "{}"),
    ],
)
def test_a_well_known_type_may_be_the_whole_body(kitchen: Kitchen, name: str, body: str) -> None:
    message = kitchen.read(name, body)
    assert dumps(kitchen.write(message)).decode() == body
