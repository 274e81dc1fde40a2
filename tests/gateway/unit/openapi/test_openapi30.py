"""The description in OpenAPI 3.0: valid, and about the same values as in OpenAPI 3.1."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from restmap_gateway.openapi.openapi30 import to_openapi_30
from tests.gateway.unit.descriptions import Json, described, operations
from tests.support.protoc import DOCUMENTED, compiled

NEWER = {"examples", "propertyNames", "contentEncoding", "const", "$defs", "prefixItems"}


@pytest.fixture(scope="module", params=["packaged", "library"])
def newer(request: pytest.FixtureRequest) -> Json:
    """Describe the packaged set, or a foreign set with one of every feature, in OpenAPI 3.1."""
    if request.param == "packaged":
        return described(resources.files("backupsharing").joinpath("image.binpb").read_bytes())
    return described(compiled("described.proto", flags=DOCUMENTED))


def converted(schema: Json) -> Json:
    """Return a schema in terms of OpenAPI 3.0."""
    return to_openapi_30({"components": {"schemas": {"Item": schema}}})["components"]["schemas"]["Item"]


def found_in(part: Any, path: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """Return what only OpenAPI 3.1 has: keywords, lists of types, the type null, and members beside references."""
    if isinstance(part, list):
        return [one for each in part for one in found_in(each, path)]
    if not isinstance(part, dict):
        return []
    of_members = path.endswith("/properties")
    is_newer = isinstance(part.get("type"), list) or part.get("type") == "null" or ("$ref" in part and len(part) > 1)
    here = [path] if is_newer and not of_members else []
    here += [f"{path}/{name}" for name in part if name in NEWER and not of_members]
    return here + [one for name, each in part.items() if name != "example" for one in found_in(each, f"{path}/{name}")]


def test_the_older_description_is_valid(newer: Json) -> None:
    older = json.loads(json.dumps(to_openapi_30(newer)))
    assert older["openapi"].startswith("3.0.")
    OpenAPIV30SpecValidator(older).validate()
    assert found_in(older) == []


def test_the_older_description_has_the_same_operations(newer: Json) -> None:
    older = to_openapi_30(newer)
    assert list(operations(older)) == list(operations(newer))
    assert older["components"].keys() == newer["components"].keys()
    assert older["components"]["schemas"].keys() == newer["components"]["schemas"].keys()


def test_the_newer_description_stays_as_it_is(newer: Json) -> None:
    before = json.dumps(newer)
    to_openapi_30(newer)
    assert json.dumps(newer) == before


@pytest.mark.parametrize(
    ("schema", "older"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"$ref": "#/a"}, {"type": "null"}]}, {"allOf": [{"$ref": "#/a"}], "nullable": True}),
        (
            {"anyOf": [{"$ref": "#/a"}, {"type": "null"}], "description": "An a."},
            {"allOf": [{"$ref": "#/a"}], "nullable": True, "description": "An a."},
        ),
        (
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]},
            {"type": "string", "enum": ["a", None], "nullable": True},
        ),
        (
            {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN"]}, {"type": "null"}]},
            {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN"]}], "nullable": True},
        ),
        ({"$ref": "#/a"}, {"$ref": "#/a"}),
        ({"$ref": "#/a", "description": "An a."}, {"allOf": [{"$ref": "#/a"}], "description": "An a."}),
        ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
        ({"exclusiveMinimum": 1}, {"minimum": 1, "exclusiveMinimum": True}),
        ({"minimum": 5, "exclusiveMinimum": 1}, {"minimum": 5}),
        ({"minimum": -5, "exclusiveMinimum": 1}, {"minimum": 1, "exclusiveMinimum": True}),
        ({"maximum": 9, "exclusiveMaximum": 9}, {"maximum": 9, "exclusiveMaximum": True}),
        ({"type": "null"}, {"nullable": True}),
        (
            {"type": "array", "items": {"type": ["integer", "null"]}},
            {"type": "array", "items": {"type": "integer", "nullable": True}},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string", "examples": ["a"]}},
            {"type": "object", "additionalProperties": {"type": "string", "example": "a"}},
        ),
        (
            {"type": "object", "properties": {"examples": {"type": "string"}, "type": {"type": "string"}}},
            {"type": "object", "properties": {"examples": {"type": "string"}, "type": {"type": "string"}}},
        ),
        ({"type": "object", "propertyNames": {"pattern": "a"}}, {"type": "object"}),
    ],
)
def test_each_newer_keyword_has_its_older_form(schema: Json, older: Json) -> None:
    assert converted(schema) == older


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"type": ["string", "null"], "pattern": "^true$"}, ["true", None, "false", True, 1]),
        ({"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}, ["a", None, "b", 1]),
        ({"type": "integer", "exclusiveMinimum": 0, "minimum": -5, "maximum": 9}, [-5, 0, 1, 9, 10, "1"]),
        ({"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN"]}]}, [1.5, "NaN", "x", None]),
    ],
)
def test_both_descriptions_allow_the_same_values(schema: Json, values: list[object]) -> None:
    newer, older = Draft202012Validator(schema), OAS30Validator(converted(schema))
    assert [older.is_valid(value) for value in values] == [newer.is_valid(value) for value in values]
