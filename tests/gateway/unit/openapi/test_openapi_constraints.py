"""Constraints in an OpenAPI description: of the restmap option, and of validation rules."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from restmap_gateway.schema.schema import SchemaError
from tests.gateway.unit.descriptions import (
    Json,
    answer,
    component,
    described,
    method,
    only_operation,
    operations,
    parameters,
    service,
)
from tests.support.protoc import DOCUMENTED, compiled_texts
from tests.support.rest import example

INT32 = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1, "examples": [1]}
RULES = """
syntax = "proto2";
package buf.validate;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { optional FieldRules field = 1159; }
enum Ignore { IGNORE_UNSPECIFIED = 0; IGNORE_IF_ZERO_VALUE = 1; IGNORE_ALWAYS = 3; }
message FieldRules {
  optional bool required = 25;
  optional Ignore ignore = 27;
  oneof type {
    DoubleRules double = 2;
    Int32Rules int32 = 3;
    Int64Rules int64 = 4;
    StringRules string = 14;
    EnumRules enum = 16;
    RepeatedRules repeated = 18;
    MapRules map = 19;
  }
}
message DoubleRules { optional double lt = 2; optional double gte = 5; }
message Int32Rules { optional int32 const = 1; optional int32 lt = 2; optional int32 gt = 4; repeated int32 in = 6; }
message Int64Rules { optional int64 lte = 3; optional int64 gt = 4; }
message StringRules {
  optional string const = 1;
  optional uint64 min_len = 2;
  optional uint64 max_len = 3;
  optional string pattern = 6;
  optional string prefix = 7;
  repeated string in = 10;
  optional uint64 len = 19;
  oneof well_known { bool email = 12; bool uuid = 22; }
}
message EnumRules { repeated int32 in = 3; repeated int32 not_in = 4; }
message RepeatedRules {
  optional uint64 min_items = 1;
  optional uint64 max_items = 2;
  optional bool unique = 3;
  optional FieldRules items = 4;
}
message MapRules { optional uint64 max_pairs = 2; optional FieldRules keys = 4; optional FieldRules values = 5; }
"""
"""The part of the rules that the tests use, with the names and numbers of the published file."""

ENUM = "enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; COLOR_BLUE = 2; }"


def schemas(fields: str) -> Json:
    """Return request and response schema of a message with these fields."""
    text = f"""message Item {{ {fields} }} {ENUM}
    service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{post: "/v1" body: "*"}}; }} }}"""
    description = service(text)
    return component(description, "ItemInput"), component(description, "Item")


def constrained(field: str, option: str) -> Json:
    """Return the schema of a field in requests with the option ``constraints``."""
    request, _ = schemas(f"{field} a = 1 [(restmap.v1.field).constraints = {{{option}}}];")
    return request["properties"]["a"]


def ruled(field: str, rules: str) -> Json:
    """Return the request schema of a message with one field with these rules."""
    text = (
        'syntax = "proto3"; package shop.v1; import "google/api/annotations.proto";'
        'import "google/protobuf/wrappers.proto"; import "buf/validate/validate.proto";'
        'import "restmap/v1/restmap.proto";'
        f"message Item {{ {field} a = 1 [(buf.validate.field) = {{{rules}}}]; }} {ENUM}"
        'service Shop { rpc Do(Item) returns (Item) { option (google.api.http) = {post: "/v1" body: "*"}; } }'
    )
    texts = {"buf/validate/validate.proto": RULES, "shop.proto": text}
    description = described(compiled_texts(texts, *DOCUMENTED))
    assert component(description, "Item")["properties"].keys() == {"a"}
    return component(description, "ItemInput")


@pytest.mark.parametrize(
    ("field", "option", "schema"),
    [
        ("int32", "minimum: 0", INT32 | {"minimum": 0}),
        ("int32", "minimum: -5 maximum: 5", INT32 | {"minimum": -5, "maximum": 5}),
        ("string", "min_length: 1 max_length: 9", {"type": "string", "minLength": 1, "maxLength": 9}),
        ("string", 'pattern: "^a$"', {"type": "string", "pattern": "^a$"}),
        ("string", 'allowed: "a" allowed: "b"', {"type": "string", "enum": ["a", "b"]}),
        ("string", 'format: "uuid"', {"type": "string", "format": "uuid"}),
        ("google.protobuf.StringValue", "max_length: 9", {"type": "string", "maxLength": 9}),
        (
            "repeated string",
            "max_length: 9 min_items: 1 max_items: 5 unique_items: true",
            {"type": "array", "items": {"type": "string", "maxLength": 9}, "minItems": 1, "maxItems": 5}
            | {"uniqueItems": True},
        ),
        (
            "map<string, int32>",
            "minimum: 1 min_items: 1 max_items: 5",
            {"type": "object", "additionalProperties": INT32 | {"minimum": 1}, "minProperties": 1, "maxProperties": 5},
        ),
    ],
)
def test_constraints_of_the_option_become_keywords(field: str, option: str, schema: Json) -> None:
    assert constrained(field, option) == schema


def test_the_range_of_a_number_in_text_is_told_in_words() -> None:
    found = constrained("int64", "minimum: 1 maximum: 9")
    assert (found["type"], found["description"]) == ("string", "At least 1. At most 9.")


def test_constraints_win_over_max_items_of_the_gateway() -> None:
    option = "(restmap.v1.field) = {max_items: 4096 constraints: {max_items: 1000}}"
    request, response = schemas(f"repeated string a = 1 [{option}];")
    assert request["properties"]["a"]["maxItems"] == 1000
    assert response["properties"]["a"]["maxItems"] == 1000


def test_a_field_that_is_always_set_is_never_null() -> None:
    _, response = schemas(
        """option (restmap.v1.message).absent_as_null = true;
        optional string a = 1 [(restmap.v1.field).constraints.always_set = true]; optional string b = 2;""",
    )
    assert response["properties"] == {"a": {"type": "string"}, "b": {"type": ["string", "null"]}}
    assert response["required"] == ["a", "b"]


def test_without_null_only_what_is_always_set_is_promised() -> None:
    _, response = schemas("Item a = 1 [(restmap.v1.field).constraints.always_set = true]; Item b = 2;")
    assert response["required"] == ["a"]


@pytest.mark.parametrize(
    ("field", "option", "said"),
    [
        ("string", "minimum: 1", "has minimum in constraints, but its values are no numbers"),
        ("int32", 'pattern: "a" allowed: "1"', "has pattern, allowed in constraints, but its values are no text"),
        ("bytes", "max_length: 1", "has max_length in constraints, but its values are no text"),
        ("string", "min_items: 1", "has min_items in constraints, but it is neither repeated nor a map"),
        ("int32", "minimum: 2 maximum: 1", "minimum 2 in constraints is larger than maximum 1"),
        ("string", "min_length: 2 max_length: 1", "min_length 2 in constraints is larger than max_length 1"),
        ("string", 'pattern: "("', "the pattern '(' in constraints is no regular expression"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(field: str, option: str, said: str) -> None:
    with pytest.raises(SchemaError) as error:
        constrained(field, option)
    assert f"shop.v1.Item.a: {said}" in str(error.value)


@pytest.mark.parametrize(("example", "said"), [("{", "the example is not JSON"), ("[1]", "must be a JSON object")])
def test_an_example_that_is_no_object_is_refused(example: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        schemas(f"option (restmap.v1.message).example = '{example}';")


@pytest.mark.parametrize(
    ("field", "rules", "keywords"),
    [
        ("string", "string: {min_len: 1 max_len: 9}", {"minLength": 1, "maxLength": 9}),
        ("string", "string: {len: 9}", {"minLength": 9, "maxLength": 9}),
        ("string", 'string: {pattern: "^a+$" prefix: "a.b"}', {"pattern": "^a+$", "allOf": [{"pattern": r"^a\.b"}]}),
        ("string", 'string: {in: ["a", "b"]}', {"enum": ["a", "b"]}),
        ("string", 'string: {const: "a"}', {"enum": ["a"]}),
        ("string", "string: {email: true}", {"format": "email"}),
        ("string", "string: {uuid: false}", {}),
        ("optional string", "string: {uuid: true}", {"format": "uuid"}),
        ("int32", "int32: {gt: 0 lt: 9}", INT32 | {"exclusiveMinimum": 0, "exclusiveMaximum": 9}),
        ("int32", "int32: {gt: 9 lt: 0}", INT32),
        ("int32", "int32: {in: [3, 5]}", INT32 | {"enum": [3, 5]}),
        ("int64", "int64: {gt: 0 lte: 9}", {"description": "Greater than 0. At most 9."}),
        ("google.protobuf.Int32Value", "int32: {const: 5}", INT32 | {"enum": [5]}),
        ("Color", "enum: {not_in: [0]}", {"enum": ["COLOR_RED", "COLOR_BLUE"]}),
        ("Color", "enum: {in: [1]}", {"enum": ["COLOR_RED"]}),
        ("string", "string: {min_len: 2} ignore: IGNORE_ALWAYS", {}),
        ("string", "string: {min_len: 2 max_len: 9} ignore: IGNORE_IF_ZERO_VALUE", {"maxLength": 9}),
        ("string", "required: true", {"minLength": 1}),
    ],
)
def test_validation_rules_become_keywords(field: str, rules: str, keywords: dict[str, Any]) -> None:
    found = ruled(field, rules)["properties"]["a"]
    known = {"minLength", "maxLength", "allOf", "enum", "exclusiveMinimum", "exclusiveMaximum", "description"}
    assert {name: value for name, value in found.items() if name in {*known, *keywords}} == keywords


def test_validation_rules_of_lists_and_maps_become_keywords() -> None:
    rules = "repeated: {min_items: 1 max_items: 5 unique: true items: {string: {max_len: 9}}}"
    assert ruled("repeated string", rules)["properties"]["a"] == {
        "type": "array",
        "items": {"type": "string", "maxLength": 9},
        "minItems": 1,
        "maxItems": 5,
        "uniqueItems": True,
    }
    rules = "map: {max_pairs: 5 keys: {string: {max_len: 9}} values: {string: {min_len: 1}}}"
    assert ruled("map<string, string>", rules)["properties"]["a"] == {
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1},
        "propertyNames": {"maxLength": 9},
        "maxProperties": 5,
    }


def test_rules_of_floats_are_about_the_number() -> None:
    schema = ruled("double", "double: {gte: 0 lt: 1.5}")["properties"]["a"]
    assert schema["anyOf"][0] == {"type": "number", "format": "double", "minimum": 0, "exclusiveMaximum": 1.5}


@pytest.mark.parametrize(
    ("field", "rules", "is_required"),
    [
        ("string", "required: true", True),
        ("Item", "required: true", True),
        ("string", "string: {min_len: 1}", True),
        ("optional string", "string: {min_len: 1}", False),
        ("string", "string: {min_len: 1} ignore: IGNORE_IF_ZERO_VALUE", False),
        ("string", "string: {max_len: 1}", False),
        ("repeated string", "repeated: {min_items: 1}", True),
        ("repeated string", "repeated: {items: {string: {min_len: 1}}}", False),
    ],
)
def test_a_field_whose_empty_value_is_refused_is_required(field: str, rules: str, *, is_required: bool) -> None:
    assert ("a" in ruled(field, rules).get("required", [])) is is_required


def test_the_option_wins_over_validation_rules() -> None:
    rules = "string: {min_len: 3 max_len: 9}}, (restmap.v1.field).constraints = {min_length: 5"
    assert ruled("string", rules)["properties"]["a"] == {"type": "string", "minLength": 5, "maxLength": 9}


def test_a_saturating_integer_keeps_its_constraints() -> None:
    text = "message Item { int32 most = 1 [(restmap.v1.field) = {saturates: true constraints: {minimum: 1}}]; }"
    found = parameters(method('get: "/v1"', text), "query")
    assert found["most"]["schema"] == {"type": "integer", "minimum": 1}


def test_an_empty_parameter_is_allowed_where_it_counts_as_absent() -> None:
    option = "option (restmap.v1.message).empty_query_is_absent = true;"
    for text, allows in ((option, True), ("", None)):
        message = f"message Item {{ {text} int32 a = 1; string id = 2; }}"
        operation = method('get: "/v1/{id}"', message)
        assert parameters(operation, "query")["a"].get("allowEmptyValue") is allows
        assert "allowEmptyValue" not in parameters(operation, "path")["id"]


@pytest.mark.parametrize(
    "option",
    [
        "pattern: '^[a-z]{3}-[0-9]$'",
        "min_length: 40",
        "max_length: 2",
        "allowed: 'x'",
        "pattern: '^[0-9a-f]{32}$' format: 'uuid'",
        "min_length: 3 min_items: 4 unique_items: true",
        "allowed: 'x' min_items: 2 unique_items: true",
    ],
)
def test_an_example_fits_the_constraints_or_is_left_out(option: str) -> None:
    kind = "repeated string" if "items" in option else "string"
    text = f"""message Item {{ {kind} a = 1 [(google.api.field_behavior) = REQUIRED,
      (restmap.v1.field).constraints = {{{option}}}]; }}
    service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{post: "/v1" body: "*"}}; }} }}"""
    description = service(text)
    media = only_operation(description)["requestBody"]["content"]["application/json"]
    if "example" in media:
        schema = media["schema"] | {"components": description["components"]}
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(media["example"])
    assert ("example" in media) is not ("-[0-9]$" in option or "{32}" in option or "'x' min_items" in option)


@pytest.fixture(scope="module")
def packaged() -> Json:
    return described(resources.files("backupsharing").joinpath("image.binpb").read_bytes())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ListSharings", "list.response"),
        ("CountSharings", "count.response"),
        ("GetSharing", "get.response"),
        ("ShareBackup", "share.response"),
    ],
)
def test_the_documented_answers_are_the_examples(packaged: Json, name: str, file: str) -> None:
    media = operations(packaged)[f"BackupSharingService_{name}"]["responses"]["200"]["content"]["application/json"]
    documented = json.loads(json.dumps(example(file)))
    if name == "ShareBackup":  # the reference shows null, but a sharing always has the time of its creation
        assert documented["shared"][0]["created_at"] is None
        documented["shared"][0]["created_at"] = media["example"]["shared"][0]["created_at"]
    assert media["example"] == documented
    Draft202012Validator(media["schema"] | {"components": packaged["components"]}).validate(media["example"])


def test_the_documented_request_is_the_example(packaged: Json) -> None:
    media = operations(packaged)["BackupSharingService_ShareBackup"]["requestBody"]["content"]["application/json"]
    assert media["example"] == example("share.request")
    Draft202012Validator(media["schema"] | {"components": packaged["components"]}).validate(media["example"])


def test_answers_are_described_as_they_really_come(packaged: Json) -> None:
    sharing = component(packaged, "Sharing")["properties"]
    assert (sharing["deleted"]["type"], sharing["deleted"]["pattern"]) == (["string", "null"], "^true$")
    assert sharing["created_at"]["type"] == "string"
    assert sharing["updated_at"]["type"] == ["string", "null"]
    shared = answer(operations(packaged)["BackupSharingService_GetSharing"])
    assert shared == {"$ref": "#/components/schemas/GetSharingResponse"}
    assert component(packaged, "GetSharingResponse")["properties"]["shared"].keys() == {"$ref", "description"}


def test_security_schemes_say_what_to_send(packaged: Json) -> None:
    for scheme in packaged["components"]["securitySchemes"].values():
        assert "token" in scheme["description"]
