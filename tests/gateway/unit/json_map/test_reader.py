"""JSON to message: accepted members, and the paths that violations name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from restmap_gateway.errors import InvalidRequest
from restmap_gateway.json_map.text_field import text_field

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

Refusal = Callable[[str, str], str]


@pytest.mark.parametrize(
    ("body", "got"),
    [("[]", "an array"), ("null", "null"), ('"x"', 'the string "x"'), ("5", "the number 5"), ("true", "true")],
)
def test_a_body_that_is_no_object_is_refused_as_a_whole(kitchen_refusal: Refusal, body: str, got: str) -> None:
    assert kitchen_refusal("Node", body) == f": expected an object, got {got}"


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("Everything", '{"node": {"next_node": {"node_name": 5}}}', "node.next_node.node_name"),
        ("Everything", '{"node": {"nextNode": {"nodeName": 5}}}', "node.nextNode.nodeName"),
        ("Lists", '{"strings": ["a", 5]}', "strings[1]"),
        ("Lists", '{"nodes": [{}, {"children": [{"node_name": 5}]}]}', "nodes[1].children[0].node_name"),
        ("Lists", '{"nodes": [{}, 5]}', "nodes[1]"),
        ("Lists", '{"times": ["1970-01-01T00:00:00Z", "x"]}', "times[1]"),
        ("Maps", '{"labels": {"a.b": 5}}', 'labels["a.b"]'),
        ("Maps", '{"nodes": {"a": {"named": {"b": {"node_name": 5}}}}}', 'nodes["a"].named["b"].node_name'),
        ("Maps", '{"by_int32": {"x": 5}}', 'by_int32["x"]'),
        ("Maps", '{"values": {"x": {"y": [1e400]}}}', 'values["x"].y[0]'),
        ("Node", '{"a b": 5}', '["a b"]'),
        ("Node", '{"": 5}', '[""]'),
        ("Node", '{"next_node": {"é\\n": 5}}', 'next_node["é\\n"]'),
    ],
)
def test_a_refusal_names_the_path_as_the_client_wrote_it(kitchen: Kitchen, name: str, body: str, path: str) -> None:
    assert kitchen.refusal(name, body).field == path


def test_a_long_name_is_cut_in_the_path(kitchen: Kitchen) -> None:
    assert len(kitchen.refusal("Node", json.dumps({"x" * 5000: 1})).field) < 100


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"node_nam": 1}', 'node_nam: is not known here, did you mean "node_name"?'),
        ('{"NodeName": 1}', 'NodeName: is not known here, did you mean "node_name"?'),
        ('{"next_node": {"childs": []}}', 'next_node.childs: is not known here, did you mean "children"?'),
        ('{"quite_different": null}', "quite_different: is not known here"),
    ],
)
def test_an_unknown_member_is_refused_with_the_nearest_name(kitchen_refusal: Refusal, body: str, said: str) -> None:
    assert kitchen_refusal("Node", body) == said


def test_unknown_members_are_ignored_by_a_lenient_reader(kitchen: Kitchen) -> None:
    message = kitchen.read("Node", '{"x": {"y": [1]}, "node_name": "n", "next_node": {"z": 1}}', lenient=True)
    assert kitchen.write(message) == {"node_name": "n", "next_node": {}}


def test_a_lenient_reader_tells_what_it_ignores(kitchen: Kitchen) -> None:
    reported: list[tuple[str, str]] = []
    kitchen.read(
        "Everything",
        '{"x": 1, "node": {"y": 1}}',
        lenient=True,
        on_unknown=lambda message, member: reported.append((message, member)),
    )
    assert reported == [("kitchen.v1.Everything", "x"), ("kitchen.v1.Node", "y")]


def test_a_lenient_reader_still_refuses_wrong_values(kitchen: Kitchen) -> None:
    assert kitchen.refusal("Node", '{"x": 1, "node_name": 5}', lenient=True).field == "node_name"


def test_a_name_given_twice_below_an_ignored_member_is_refused(kitchen: Kitchen) -> None:
    assert kitchen.refusal("Node", '{"x": [{"y": 1, "y": 2}]}', lenient=True).field == "x[0].y"


def test_a_name_given_twice_in_a_struct_is_refused(kitchen: Kitchen) -> None:
    assert kitchen.refusal("WellKnown", '{"struct": {"a": {"b": 1, "b": 2}}}').field == "struct.a.b"


@pytest.mark.parametrize("body", ['{"node_name": "x", "nodeName": "x"}', '{"nodeName": null, "node_name": null}'])
def test_both_names_of_a_field_at_once_are_refused(kitchen_refusal: Refusal, body: str) -> None:
    assert kitchen_refusal("Node", body) == 'nodeName: is given more than once, also as "node_name"'


def test_the_lower_camel_case_name_is_read(kitchen: Kitchen) -> None:
    assert kitchen.read("Node", '{"nodeName": "x"}').node_name == "x"


def test_a_json_name_of_its_own_is_read(kitchen: Kitchen) -> None:
    assert kitchen.read("Named", '{"somethingElse": "x"}').other == "x"


def test_lower_camel_case_is_unknown_with_original_names_only(kitchen_refusal: Refusal) -> None:
    said = 'displayName: is not known here, did you mean "display_name"?'
    assert kitchen_refusal("Published", '{"displayName": "x"}') == said


@pytest.mark.parametrize("name", ["secret_key", "secretKey"])
def test_a_field_for_grpc_only_is_unknown(kitchen_refusal: Refusal, name: str) -> None:
    assert kitchen_refusal("Named", f'{{"{name}": "x"}}') == f"{name}: is not known here"


@pytest.mark.parametrize("body", ['{"node_name": "x"}', '{"nodeName": "x"}', '{"node_name": null}'])
def test_a_field_bound_elsewhere_is_refused(kitchen: Kitchen, body: str) -> None:
    said = kitchen.refusal("Node", body, excluded=frozenset({"node_name"}))
    assert said.description == "is bound by the path or a header and cannot be given in the body"


def test_a_field_bound_elsewhere_is_free_in_a_nested_message(kitchen: Kitchen) -> None:
    message = kitchen.read("Node", '{"next_node": {"node_name": "x"}}', excluded=frozenset({"node_name"}))
    assert message.next_node.node_name == "x"


def test_a_nested_field_bound_elsewhere_is_refused(kitchen: Kitchen) -> None:
    body = '{"node": {"next_node": {"node_name": "x"}}}'
    said = kitchen.refusal("Everything", body, excluded=frozenset({"node.next_node.node_name"}))
    assert said.field == "node.next_node.node_name"


def test_a_field_bound_elsewhere_is_refused_also_when_lenient(kitchen: Kitchen) -> None:
    said = kitchen.refusal("Node", '{"node_name": "x"}', excluded=frozenset({"node_name"}), lenient=True)
    assert said.description.startswith("is bound by the path")


def test_what_was_bound_before_the_body_stays(kitchen: Kitchen) -> None:
    message = kitchen.new("Node")
    message.next_node.node_name = "bound"
    kitchen.json_map.reader(message.DESCRIPTOR)({"next_node": {"children": [{}]}}, message)
    assert (message.next_node.node_name, len(message.next_node.children)) == ("bound", 1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"text": "x", "number": 1}', 'number: only one of "text" and "number" can be given'),
        ('{"text": "", "is_empty": false}', 'is_empty: only one of "text" and "is_empty" can be given'),
        ('{"node": {}, "text": "x"}', 'text: only one of "node" and "text" can be given'),
        ('{"number": 1, "any_json": null}', 'any_json: only one of "number" and "any_json" can be given'),
        ('{"nothing": null, "isEmpty": true}', 'isEmpty: only one of "nothing" and "is_empty" can be given'),
    ],
)
def test_two_members_of_a_oneof_are_refused_and_both_named(kitchen_refusal: Refusal, body: str, said: str) -> None:
    assert kitchen_refusal("Choice", body) == said


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ('{"text": null, "number": 1}', "number"),
        ('{"number": 0, "text": null, "node": null}', "number"),
        ('{"node": {}}', "node"),
        ('{"any_json": null}', "any_json"),
        ('{"nothing": null}', "nothing"),
        ('{"is_empty": false}', "is_empty"),
        ('{"text": null}', None),
    ],
)
def test_null_does_not_choose_in_a_oneof_unless_it_is_a_value(kitchen: Kitchen, body: str, chosen: str | None) -> None:
    assert kitchen.read("Choice", body).WhichOneof("kind") == chosen


@pytest.mark.parametrize("name", ["Scalars", "Optionals", "Lists", "Maps", "Node", "Choice", "WellKnown", "Everything"])
def test_null_is_absence_for_every_ordinary_field(kitchen: Kitchen, name: str) -> None:
    null_is_a_value = {"value", "any_json", "nothing"}
    fields = [field.name for field in kitchen.descriptor(name).fields if field.name not in null_is_a_value]
    assert kitchen.read(name, json.dumps(dict.fromkeys(fields))) == kitchen.new(name)


@pytest.mark.parametrize("field", ["ints", "strings", "tastes", "nodes", "times", "wrapped", "blobs"])
def test_null_is_no_element_of_an_array(kitchen_refusal: Refusal, field: str) -> None:
    assert kitchen_refusal("Lists", f'{{"{field}": [null]}}').startswith(f"{field}[0]: expected ")


@pytest.mark.parametrize("field", ["labels", "tastes", "nodes", "times"])
def test_null_is_no_value_of_a_map(kitchen_refusal: Refusal, field: str) -> None:
    assert kitchen_refusal("Maps", f'{{"{field}": {{"k": null}}}}').startswith(f'{field}["k"]: expected ')


@pytest.mark.parametrize(
    ("name", "body"),
    [("Lists", '{"values":[null]}'), ("Lists", '{"nothings":[null]}'), ("Maps", '{"values":{"k":null}}')],
)
def test_null_is_an_element_where_the_element_may_be_null(kitchen: Kitchen, name: str, body: str) -> None:
    assert kitchen.text(kitchen.read(name, body)) == body


@pytest.mark.parametrize("value", ['"a"', "{}", "5", "true"])
@pytest.mark.parametrize("field", ["strings", "nodes"])
def test_a_single_value_is_no_array(kitchen_refusal: Refusal, field: str, value: str) -> None:
    assert kitchen_refusal("Lists", f'{{"{field}": {value}}}').startswith(f"{field}: expected an array, got ")


@pytest.mark.parametrize("value", ['"a"', "[]", "5", "true"])
@pytest.mark.parametrize("field", ["labels", "nodes"])
def test_a_map_is_an_object(kitchen_refusal: Refusal, field: str, value: str) -> None:
    assert kitchen_refusal("Maps", f'{{"{field}": {value}}}').startswith(f"{field}: expected an object, got ")


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("by_int32", "1.0"),
        ("by_int32", "01"),
        ("by_int32", "-0"),
        ("by_int32", "2147483648"),
        ("by_uint64", "-1"),
        ("by_bool", "True"),
        ("by_bool", "1"),
    ],
)
def test_a_key_of_a_wrong_type_is_refused(kitchen: Kitchen, field: str, key: str) -> None:
    assert kitchen.refusal("Maps", f'{{"{field}": {{"{key}": 1}}}}').field == f'{field}["{key}"]'


def test_keys_of_every_type_are_read(kitchen: Kitchen) -> None:
    body = '{"by_int32":{"-1":1},"by_int64":{"-9223372036854775808":"1"},"by_bool":{"false":0.5,"true":1.5}}'
    assert kitchen.text(kitchen.read("Maps", body)) == body


def test_an_empty_object_makes_a_message_present(kitchen: Kitchen) -> None:
    assert kitchen.read("Node", '{"next_node": {"next_node": null}}').HasField("next_node")


@pytest.mark.parametrize(
    ("field", "value"), [("count", "0"), ("name", '""'), ("flag", "false"), ("taste", "0"), ("nothing", "null")]
)
def test_the_default_makes_an_optional_field_present(kitchen: Kitchen, field: str, value: str) -> None:
    assert kitchen.read("Optionals", f'{{"{field}": {value}}}').HasField(field)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09+00:00",
        "2024-05-06T07:08:09.1234567",
        "2024-05-06",
        "2024-05-06 07:08:09",
    ],
)
@pytest.mark.parametrize("body", ['{"created_at": "%s"}', '{"seen_at": ["%s"]}', '{"named_times": {"k": "%s"}}'])
def test_utc_text_takes_no_zone_and_no_more_than_micros(kitchen_refusal: Refusal, body: str, text: str) -> None:
    assert "expected a UTC time without zone" in kitchen_refusal("Published", body % text)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [("1970-01-01T00:00:01", 0), ("1970-01-01T00:00:01.5", 500_000_000), ("1970-01-01T00:00:01.000001", 1000)],
)
def test_utc_text_may_have_up_to_six_digits(kitchen: Kitchen, text: str, nanos: int) -> None:
    time = kitchen.read("Published", f'{{"created_at": "{text}"}}').created_at
    assert (time.seconds, time.nanos) == (1, nanos)


def test_a_group_is_read_like_a_message(kitchen: Kitchen) -> None:
    assert kitchen.read("kitchen.old.v1.Old", '{"inner": {"text": "x"}}').inner.text == "x"


def test_the_value_of_one_field_may_be_the_body(kitchen: Kitchen) -> None:
    message = kitchen.new("Lists")
    kitchen.json_map.field_reader(message.DESCRIPTOR.fields_by_name["strings"])(["a"], message)
    assert list(message.strings) == ["a"]


@pytest.mark.parametrize("field", ["strings", "values", "nodes"])
def test_null_is_no_body_that_is_the_value_of_one_field(kitchen: Kitchen, field: str) -> None:
    message = kitchen.new("Lists")
    with pytest.raises(InvalidRequest, match="expected a value, got null"):
        kitchen.json_map.field_reader(message.DESCRIPTOR.fields_by_name[field])(None, message)


def test_types_that_hold_each_other_deeply_are_read(kitchen: Kitchen) -> None:
    body = '{"children":[' * 40 + '{"node_name":"x"}' + "]}" * 40
    assert kitchen.text(kitchen.read("Node", body)) == body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"names": ["a", "b", 5]}', "names: has 3 elements; at most 2 are expected"),
        ('{"nodes": [{}, {}, {}]}', "nodes: has 3 elements; at most 2 are expected"),
        ('{"counts": {"a": 1, "b": 2, "c": 3}}', "counts: has 3 elements; at most 2 are expected"),
    ],
)
def test_more_elements_than_the_proto_allows_are_refused(kitchen_refusal: Refusal, body: str, said: str) -> None:
    assert kitchen_refusal("Few", body) == said


def test_as_many_elements_as_the_proto_allows_are_read(kitchen: Kitchen) -> None:
    few = kitchen.read("Few", '{"names": ["a", "b"], "nodes": [{}, {}], "counts": {"a": 1, "b": 2}}')
    assert (list(few.names), len(few.nodes), dict(few.counts)) == (["a", "b"], 2, {"a": 1, "b": 2})


def test_a_query_gives_no_more_values_than_the_proto_allows(kitchen: Kitchen) -> None:
    names = text_field([kitchen.descriptor("Few").fields_by_name["names"]])
    few = kitchen.new("Few")
    with pytest.raises(ValueError, match="is given 3 times, expected at most 2"):
        names.set(few, ["a", "b", "c"])
    names.set(few, ["a", "b"])
    assert list(few.names) == ["a", "b"]
