"""OpenAPI 3.1 → 3.0, for tools that stop there: the same API with the keywords of the older JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from restmap_gateway.openapi.values import Json

VERSION = "3.0.3"

_SCHEMAS = ("schema", "x-itemSchema")
"""Members outside of schemas whose value is a schema."""
_KEPT = ("example", "default", "enum")
"""Members whose value is data."""
_NULL = {"type": "null"}
_LISTS = ("allOf", "anyOf", "oneOf")
_UNKNOWN = ("contentEncoding", "propertyNames", "$comment")
"""Keywords that OpenAPI 3.0 lacks, and whose meaning is also in a description or a format."""
_EXCLUSIVE: Mapping[str, tuple[str, Callable[[float, float], float]]] = {
    "exclusiveMinimum": ("minimum", max),
    "exclusiveMaximum": ("maximum", min),
}


def to_openapi_30(description: Json) -> Json:
    """Return a description that `describe` made in terms of OpenAPI 3.0; the given one stays as it is."""
    found: dict[str, Any] = _part(description)
    components = description.get("components")
    schemas = components.get("schemas") if isinstance(components, dict) else None
    if isinstance(schemas, dict):
        found["components"]["schemas"] = {name: _schema(schema) for name, schema in schemas.items()}
    return found | {"openapi": VERSION}


def _part(part: Any) -> Any:  # noqa: ANN401 - any part of a description outside of schemas
    if isinstance(part, list):
        return [_part(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {name: _schema(one) if name in _SCHEMAS else one for name, one in part.items()}
    return {name: one if name in (*_SCHEMAS, *_KEPT) else _part(one) for name, one in found.items()}


def _schema(schema: Any) -> Any:  # noqa: ANN401 - an object, or true for any value
    if not isinstance(schema, dict):
        return {} if schema is True else schema
    if "$ref" in schema:
        beside = {name: one for name, one in schema.items() if name != "$ref"}
        # OpenAPI 3.0 ignores members beside a reference.
        return {"allOf": [{"$ref": schema["$ref"]}], **beside} if beside else dict(schema)
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list) and _NULL in alternatives:
        others = [_schema(one) for one in alternatives if one != _NULL]
        return _or_null(others, _schema({name: one for name, one in schema.items() if name != "anyOf"}))
    found = {name: _keyword(name, one) for name, one in schema.items() if name not in _UNKNOWN}
    _change_type(found)
    _change_examples(found)
    _change_bounds(found)
    return found


def _or_null(others: list[Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of null or one of the others; the rest is common to all."""
    if len(others) > 1:
        return {"anyOf": others, "nullable": True, **rest}
    if "$ref" in others[0]:
        return {"allOf": others, "nullable": True, **rest}
    choice = {"enum": [*others[0]["enum"], None]} if "enum" in others[0] else {}
    return {**others[0], **choice, "nullable": True, **rest}


def _keyword(name: str, value: Any) -> Any:  # noqa: ANN401 - any value
    if name == "properties":
        return {member: _schema(one) for member, one in value.items()}
    if name in ("items", "not") or (name == "additionalProperties" and isinstance(value, dict)):
        return _schema(value)
    return [_schema(one) for one in value] if name in _LISTS else value


def _change_type(schema: dict[str, Any]) -> None:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        (kind,) = (kind for kind in kinds if kind != "null")
        schema |= {"type": kind, "nullable": True}
    elif kinds == "null":
        # OpenAPI 3.0 has no schema for null and nothing else.
        del schema["type"]
        schema["nullable"] = True


def _change_examples(schema: dict[str, Any]) -> None:
    examples = schema.pop("examples", None)
    if examples:
        schema["example"] = examples[0]


def _change_bounds(schema: dict[str, Any]) -> None:
    for exclusive, (name, stricter) in _EXCLUSIVE.items():
        bound = schema.pop(exclusive, None)
        if bound is None:
            continue
        other = schema.get(name, bound)
        schema[name] = stricter(bound, other)
        schema |= {exclusive: True} if schema[name] == bound else {}
