"""An example of a request body, made from types and formats only; it always fits the schema."""

from __future__ import annotations

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap_gateway.json_map.enums import NULL_VALUE
from restmap_gateway.json_map.fields import has_utc_micros, map_entry, shown_fields
from restmap_gateway.json_map.scalars import WRAPPERS
from restmap_gateway.openapi.schemas import behavior_of, inside, is_required
from restmap_gateway.openapi.values import ANY, Json, scalar_schema, well_known_schema

_MOST_DEPTH = 3
"""Maximum levels of nested messages in an example; required fields are shown at any level."""


class _Endless(Exception):
    """The message must contain itself."""


def example_of(descriptor: Descriptor, excluded: frozenset[str]) -> Json:
    """Return an example of a request without the fields in `excluded`."""
    try:
        return _object(descriptor, excluded, ())
    except _Endless:
        return {}


def example_of_field(field: FieldDescriptor, excluded: frozenset[str]) -> object:
    """Return an example of a body that is one field; `excluded` is relative to the field."""
    try:
        return _field(field, excluded, ())
    except _Endless:
        return {}


def _object(descriptor: Descriptor, excluded: frozenset[str], around: tuple[str, ...]) -> Json:
    if descriptor.full_name in around:
        raise _Endless
    within = (*around, descriptor.full_name)
    members: Json = {}
    oneofs: set[str] = set()
    for field in shown_fields(descriptor):
        oneof = field.containing_oneof
        if _is_left_out(field, excluded, within) or (oneof is not None and oneof.name in oneofs):
            continue
        try:
            members[field.name] = _field(field, inside(field.name, excluded), within)
        except _Endless:
            if is_required(field):
                raise
            continue
        if oneof is not None:
            oneofs.add(oneof.name)
    return members


def _is_left_out(field: FieldDescriptor, excluded: frozenset[str], within: tuple[str, ...]) -> bool:
    if field.name in excluded or field_behavior_pb2.OUTPUT_ONLY in behavior_of(field) or field.GetOptions().deprecated:
        return not is_required(field) or field.name in excluded
    is_deep = field.message_type is not None and len(within) > _MOST_DEPTH
    return is_deep and not is_required(field)


def _field(field: FieldDescriptor, excluded: frozenset[str], around: tuple[str, ...]) -> object:
    entry = map_entry(field)
    if entry is not None:
        key_field, value_field = entry
        return {_key(key_field): _value(value_field, field, excluded, around)}
    value = _value(field, field, excluded, around)
    return [value] if field.is_repeated else value


def _value(field: FieldDescriptor, owner: FieldDescriptor, excluded: frozenset[str], around: tuple[str, ...]) -> object:
    if field.enum_type is not None:
        if field.enum_type.full_name == NULL_VALUE:
            return None
        # The first value usually means that nothing was chosen.
        return [value.name for value in field.enum_type.values[:2]][-1]
    if field.message_type is None:
        return _first(scalar_schema(field))
    known = well_known_schema(field.message_type.full_name, utc_micros=has_utc_micros(owner))
    if known is not None:
        return _first(known)
    if field.message_type.full_name == ANY:
        return {}
    if field.message_type.full_name in WRAPPERS:
        return _first(scalar_schema(field.message_type.fields_by_name["value"]))
    return _object(field.message_type, excluded, around)


def _key(field: FieldDescriptor) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "name"
    return "true" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "1"


def _first(schema: Json) -> object:
    """Return the example in the schema, else the simplest value of its type."""
    examples = schema.get("examples")
    if isinstance(examples, list):
        return examples[0]
    match schema.get("type"):
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return {}
        case "string":
            return "string"
        case _:
            return 1.5
