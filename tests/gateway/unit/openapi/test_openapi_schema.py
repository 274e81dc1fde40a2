"""JSON Schema of messages: exactly what the gateway reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from restmap_gateway.openapi.comments import Comments
from restmap_gateway.openapi.components import Components
from restmap_gateway.openapi.names import Names
from restmap_gateway.openapi.schemas import Schemas, Side
from restmap_gateway.openapi.values import any_schema
from tests.gateway.unit.descriptions import Json, component, described, service
from tests.gateway.unit.json_map.test_round_trip import messages
from tests.support.effort import cases
from tests.support.protoc import DOCUMENTED, compiled

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

MICROS = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$"


@pytest.fixture(scope="module")
def library() -> Json:
    return described(compiled("described.proto", flags=DOCUMENTED))


def members(fields: str, *, request: bool = False, options: str = "") -> Json:
    """Return the member schemas of a message with these fields."""
    text = f"""
    message Item {{ {options} {fields} }}
    enum Color {{ COLOR_UNSPECIFIED = 0; COLOR_RED = 1; }}
    service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{post: "/v1" body: "*"}}; }} }}
    """
    return component(service(text), f"Item{'Input' if request else ''}")["properties"]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("bool", {"type": "boolean"}),
        ("string", {"type": "string"}),
        ("int32", {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1, "examples": [1]}),
        ("uint32", {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1, "examples": [1]}),
        ("google.protobuf.Struct", {"type": "object", "description": "Any JSON object."}),
        ("google.protobuf.ListValue", {"type": "array", "items": {}, "description": "Any JSON array."}),
        ("google.protobuf.Value", {"description": "Any JSON value."}),
        ("google.protobuf.NullValue", {"type": "null"}),
        ("google.protobuf.BoolValue", {"type": "boolean"}),
        ("Color", {"$ref": "#/components/schemas/Color"}),
        ("Item", {"$ref": "#/components/schemas/Item"}),
        ("repeated bool", {"type": "array", "items": {"type": "boolean"}}),
        ("map<string, bool>", {"type": "object", "additionalProperties": {"type": "boolean"}}),
    ],
)
def test_each_type_has_its_schema(kind: str, schema: Json) -> None:
    assert members(f"{kind} a = 1;")["a"] == schema


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int64", ["0", "-5", "9223372036854775807"], [5, "05", "1.0", "-0", ""]),
        ("uint64", ["0", "18446744073709551615"], ["-1", 1]),
        ("double", [1, 1.5, "NaN", "-Infinity"], ["1.5", None]),
        ("bytes", ["", "AAEC"], [1]),
        ("google.protobuf.Timestamp", ["2024-05-06T07:08:09Z"], [5]),
        ("google.protobuf.Duration", ["1s", "-1.5s"], ["1", "1.s", "PT1S"]),
        ("google.protobuf.FieldMask", ["", "a", "a.bC,d", "*"], ["a_b", "a,", 1]),
        ("google.protobuf.Int64Value", ["5"], [5]),
        ("Color", ["COLOR_RED"], ["COLOR_BLUE", 1]),
        ("map<int32, bool>", [{"5": True}], [{"a": True}, {"05": True}]),
        ("map<uint32, bool>", [{"5": True}], [{"-5": True}]),
        ("map<bool, bool>", [{"true": True}], [{"yes": True}]),
    ],
)
def test_a_schema_takes_the_form_that_json_has(kind: str, good: list[object], bad: list[object]) -> None:
    schema = members(f"{kind} a = 1;")["a"]
    color = {"type": "string", "enum": ["COLOR_UNSPECIFIED", "COLOR_RED"]}
    validator = Draft202012Validator(schema | {"components": {"schemas": {"Color": color}}})
    assert [value for value in good if not validator.is_valid(value)] == []
    assert [value for value in bad if validator.is_valid(value)] == []


@pytest.mark.parametrize(
    ("option", "form"),
    [("UUID4", {"format": "uuid"}), ("IPV4", {"format": "ipv4"}), ("IPV6", {"format": "ipv6"})],
)
def test_a_format_of_the_proto_is_the_format(option: str, form: Json) -> None:
    schema = members(f"string a = 1 [(google.api.field_info).format = {option}];")["a"]
    assert schema.items() >= form.items()


def test_either_kind_of_address_has_either_format() -> None:
    schema = members("string a = 1 [(google.api.field_info).format = IPV4_OR_IPV6];")["a"]
    assert schema["anyOf"] == [{"format": "ipv4"}, {"format": "ipv6"}]


def test_timestamps_without_zone_have_a_pattern() -> None:
    options = "option (restmap.v1.message).time_format = TIME_FORMAT_UTC_MICROS;"
    fields = "google.protobuf.Timestamp a = 1; map<string, google.protobuf.Timestamp> b = 2;"
    found = members(fields, options=options)
    assert (found["a"]["pattern"], found["b"]["additionalProperties"]["pattern"]) == (MICROS, MICROS)
    assert "format" not in found["a"]


def test_an_answer_without_options_promises_no_member(library: Json) -> None:
    assert "required" not in component(library, "Book")


def test_absent_as_null_promises_every_member_and_null_if_unset(library: Json) -> None:
    schema = component(library, "Published")
    assert schema["required"] == list(schema["properties"])
    validator = Draft202012Validator(schema | {"components": library["components"]})
    nulls = dict.fromkeys(("display_name", "created_at", "node", "user", "group"))
    full = {"tags": [], "labels": {}, "size": 0, "big_size": "0", "seen_at": [], "named_times": {}, **nulls}
    assert validator.is_valid(full)
    assert not [name for name in full if name not in nulls and validator.is_valid(full | {name: None})]


def test_a_request_has_what_the_proto_requires_and_no_more(library: Json) -> None:
    schema = component(library, "BookInput")
    assert (schema["required"], schema["additionalProperties"]) == (["id"], False)


def test_a_required_field_of_proto2_is_required(library: Json) -> None:
    assert component(library, "OldInput")["required"] == ["must"]


def test_what_only_grpc_knows_is_nowhere(library: Json) -> None:
    for name in ("Book", "BookInput"):
        assert "secret" not in component(library, name)["properties"]


def test_an_any_has_a_type_and_whatever_that_has() -> None:
    assert members("google.protobuf.Any a = 1;")["a"] == {"$ref": "#/components/schemas/AnyMessage"}
    schema = any_schema()
    assert (schema["type"], list(schema["properties"]), schema["additionalProperties"]) == ("object", ["@type"], True)


def test_who_may_set_a_field_is_told(library: Json) -> None:
    properties = component(library, "BookInput")["properties"]
    assert {name for name, one in properties.items() if one.get("readOnly")} == {"name"}
    assert {name for name, one in properties.items() if one.get("writeOnly")} == {"pin"}
    assert {name for name, one in properties.items() if one.get("deprecated")} == {"old_title"}


def test_members_of_a_oneof_name_each_other(library: Json) -> None:
    properties = component(library, "Book")["properties"]
    assert properties["person"]["description"] == "At most one of `person`, `club`."


def test_messages_fields_and_enum_values_have_their_comments(library: Json) -> None:
    assert component(library, "Book")["description"] == "A book on a shelf."
    assert component(library, "Book")["properties"]["sequel"]["description"] == "A book inside a book."
    assert component(library, "Subject")["description"] == (
        "What a book is about.\n\n"
        "- `SUBJECT_UNSPECIFIED`: Nobody said.\n- `SUBJECT_SEA`: The sea and all that is in it."
    )


def test_a_comment_does_not_hide_what_a_format_means() -> None:
    found = members("\n// How long.\ngoogle.protobuf.Duration a = 1;")
    assert found["a"]["description"] == "How long.\n\nSeconds, with an `s` behind."


def without_unknown_values(message: Any) -> Any:  # noqa: ANN401 - classes made from a descriptor have attributes that no type knows
    """Replace enum numbers without a name by 0; JSON shows such values as numbers."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _clean_map(field, value)
        elif field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                without_unknown_values(inner)
        elif field.enum_type is not None and field.is_repeated:
            value[:] = [one if one in field.enum_type.values_by_number else 0 for one in value]
        elif field.enum_type is not None and value not in field.enum_type.values_by_number:
            setattr(message, field.name, 0)
    return message


def _clean_map(field: Any, entries: Any) -> None:  # noqa: ANN401
    value_field = field.message_type.fields_by_name["value"]
    for key in list(entries):  # writing to a map of protobuf while iterating over it skips entries
        if value_field.message_type is not None:
            without_unknown_values(entries[key])
        elif value_field.enum_type is not None and entries[key] not in value_field.enum_type.values_by_number:
            entries[key] = 0


def closed(schema: Json) -> Json:
    """Return the schema with unnamed members forbidden in every object."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    same = {name: closed(one) for name, one in schema.items()}
    return {"additionalProperties": False} | same if "properties" in schema else same


@pytest.mark.parametrize("name", ["Everything", "Published", "Boxed", "Named"])
@settings(max_examples=cases(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_gateway_writes_fits_the_schema(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    message: Message = data.draw(messages(lambda: kitchen.new(name)))
    components = Components()
    schema = Schemas(Comments([]), Side.ANSWER, components).message(kitchen.descriptor(name))
    validator = Draft202012Validator(closed(components.named(schema, Names())))
    validator.validate(kitchen.write(without_unknown_values(message)))


def test_bounds_of_the_proto_are_described_for_requests_only(kitchen: Kitchen) -> None:
    few = kitchen.descriptor("Few")
    request = Schemas(Comments([]), Side.REQUEST, Components()).object(few)["properties"]
    assert (request["names"]["maxItems"], request["counts"]["maxProperties"]) == (2, 2)
    answer = Schemas(Comments([]), Side.ANSWER, Components()).object(few)["properties"]
    assert "maxItems" not in answer["names"]
