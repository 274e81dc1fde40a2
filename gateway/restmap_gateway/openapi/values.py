"""JSON Schema of single values: scalars, enums, and well-known messages with a special JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.api import field_info_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from restmap_gateway.openapi.comments import Comments

Json = dict[str, object]
"""A JSON object, mostly a JSON Schema."""

ANY: Final = "google.protobuf.Any"
FIELD_MASK: Final = "google.protobuf.FieldMask"
UTC_MICROS_EXAMPLE: Final = "2024-05-06T07:08:09.000000"

_INT32: Final = (-(2**31), 2**31 - 1)
_UINT32: Final = (0, 2**32 - 1)
_TEXT_INTEGERS: Final = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_FLOATS: Final = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_RANGES: Final = {
    "minimum": "At least",
    "exclusiveMinimum": "Greater than",
    "maximum": "At most",
    "exclusiveMaximum": "Less than",
}
_FORMATS: Final = {
    field_info_pb2.FieldInfo.UUID4: ("uuid", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
    field_info_pb2.FieldInfo.IPV4: ("ipv4", "192.0.2.1"),
    field_info_pb2.FieldInfo.IPV6: ("ipv6", "2001:db8::1"),
}


def scalar_schema(field: FieldDescriptor) -> Json:
    """Return the schema of one value of a field that is neither message nor enum."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        case FieldDescriptor.CPPTYPE_INT32:
            return _integer("int32", _INT32)
        case FieldDescriptor.CPPTYPE_UINT32:
            return _integer("uint32", _UINT32)
        case FieldDescriptor.CPPTYPE_INT64:
            return _integer_text("int64", "^(0|-?[1-9][0-9]{0,18})$")
        case FieldDescriptor.CPPTYPE_UINT64:
            return _integer_text("uint64", "^(0|[1-9][0-9]{0,19})$")
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return _number("double")
        case FieldDescriptor.CPPTYPE_FLOAT:
            return _number("float")
        case _:
            return _bytes() if field.type == FieldDescriptor.TYPE_BYTES else _string(field)


def constrained(field: FieldDescriptor, keywords: Mapping[str, object]) -> Json:
    """Return the schema of one value of a field that is neither message nor enum, with these additional keywords."""
    schema = scalar_schema(field)
    if not keywords:
        return schema
    if field.cpp_type in _TEXT_INTEGERS:
        return _constrained_text(schema, keywords)
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list) and field.cpp_type in _FLOATS:
        first, *others = alternatives
        return schema | {"anyOf": [first | dict(keywords), *others]}
    return {**schema, **keywords}


def _constrained_text(schema: Json, keywords: Mapping[str, object]) -> Json:
    """Return the schema of an integer in text form, whose range only words can tell."""
    choice = keywords.get("enum")
    if isinstance(choice, list):
        schema = schema | {"enum": [str(one) for one in choice]}
    notes = [f"{text} {keywords[name]}." for name, text in _RANGES.items() if name in keywords]
    return schema | ({"description": " ".join(notes)} if notes else {})


def well_known_schema(full_name: str, *, utc_micros: bool) -> Json | None:
    """Return the schema of a message with a special JSON form; None for other messages, wrappers and Any.

    Args:
        full_name: full name of the message.
        utc_micros: whether timestamps are UTC text without zone.
    """
    match full_name.removeprefix("google.protobuf."):
        case "Timestamp" if utc_micros:
            return _utc_micros()
        case "Timestamp":
            return {"type": "string", "format": "date-time", "examples": ["2024-05-06T07:08:09.123Z"]}
        case "Duration":
            return _pattern(r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$", "1.5s", "Seconds, with an `s` behind.")
        case "FieldMask":
            paths = "Field paths in lowerCamelCase, separated by commas."
            name = "[a-z][A-Za-z0-9]*"
            path = rf"({name}(\.{name})*|\*)"
            return _pattern(f"^({path}(,{path})*)?$", "displayName,photo", paths)
        case "Struct":
            return {"type": "object", "description": "Any JSON object."}
        case "ListValue":
            return {"type": "array", "items": {}, "description": "Any JSON array."}
        case "Value":
            return {"description": "Any JSON value."}
        case _:
            return None


def enum_schema(enum: EnumDescriptor, comments: Comments) -> Json:
    """Return the schema of an enum, by names; the comments of its values are part of the description."""
    of_values = ((value.name, comments.of(f"{enum.full_name}.{value.name}").text) for value in enum.values)
    explained = [f"- `{name}`: {' '.join(text.split())}" for name, text in of_values if text]
    parts = [comments.of(enum.full_name).text, "\n".join(explained)]
    schema: Json = {"type": "string", "enum": [value.name for value in enum.values]}
    description = "\n\n".join(part for part in parts if part)
    return schema | ({"description": description} if description else {})


def map_key_schema(key: FieldDescriptor) -> Json | None:
    """Return the schema for the member names of a map; None for any text."""
    match key.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return None
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"enum": ["true", "false"]}
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return {"pattern": "^(0|[1-9][0-9]*)$"}
        case _:
            return {"pattern": "^(0|-?[1-9][0-9]*)$"}


def nullable(schema: Json) -> Json:
    """Return the schema extended by null."""
    kind = schema.get("type")
    if not (schema.keys() - {"description", "title"}) or kind == "null":
        return schema
    if isinstance(kind, str) and "enum" not in schema:
        return schema | {"type": [kind, "null"]}
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list):
        return schema | {"anyOf": [*alternatives, {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _integer(name: str, bounds: tuple[int, int]) -> Json:
    return {"type": "integer", "format": name, "minimum": bounds[0], "maximum": bounds[1], "examples": [1]}


def _integer_text(name: str, pattern: str) -> Json:
    # Many JSON readers cannot hold 64-bit numbers, so they are text in JSON.
    return {"type": "string", "format": name, "pattern": pattern, "examples": ["1"]}


def _number(name: str) -> Json:
    return {
        "anyOf": [
            {"type": "number", "format": name},
            {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
        ],
    }


def _bytes() -> Json:
    return {"type": "string", "format": "byte", "contentEncoding": "base64", "examples": ["AAEC"]}


def _string(field: FieldDescriptor) -> Json:
    form = field.GetOptions().Extensions[field_info_pb2.field_info].format
    if form == field_info_pb2.FieldInfo.IPV4_OR_IPV6:
        return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}], "examples": ["192.0.2.1"]}
    if form in _FORMATS:
        name, example = _FORMATS[form]
        return {"type": "string", "format": name, "examples": [example]}
    return {"type": "string"}


def _utc_micros() -> Json:
    pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}$"
    return _pattern(pattern, UTC_MICROS_EXAMPLE, "UTC, to the microsecond, without zone.")


def _pattern(pattern: str, example: str, description: str) -> Json:
    return {"type": "string", "pattern": pattern, "examples": [example], "description": description}


def any_schema() -> Json:
    """Return the schema of any message, with its type."""
    return {
        "type": "object",
        "properties": {"@type": {"type": "string", "examples": ["type.googleapis.com/google.protobuf.Empty"]}},
        "additionalProperties": True,
        "description": "Any message: `@type` is its type, beside it are its members, or its JSON as `value`.",
    }
