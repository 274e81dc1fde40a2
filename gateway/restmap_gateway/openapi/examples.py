"""Examples of bodies: of the option, or made from types, formats and constraints; they always fit the schema."""

from __future__ import annotations

import json

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from restmap_gateway.json_map.enums import NULL_VALUE
from restmap_gateway.json_map.fields import has_utc_micros, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.scalars import WRAPPERS
from restmap_gateway.openapi.constraints import constraints_of
from restmap_gateway.openapi.constraints.rules import Keywords
from restmap_gateway.openapi.fitting import NoExample, fitting, whole
from restmap_gateway.openapi.schemas import behavior_of, inside, is_required
from restmap_gateway.openapi.values import ANY, Json, constrained, well_known_schema

_MOST_DEPTH = 3
"""Maximum levels of nested messages in an example; required fields are shown at any level."""


_NOTHING: frozenset[str] = frozenset()


def example_of(descriptor: Descriptor, excluded: frozenset[str]) -> Json:
    """Return the member ``example`` for a request without the fields in `excluded`; empty without an example."""
    try:
        return {"example": _object(descriptor, excluded, ())}
    except NoExample:
        return {}


def example_of_field(field: FieldDescriptor, excluded: frozenset[str]) -> Json:
    """Return the member ``example`` for a body that is one field; `excluded` is relative to the field."""
    try:
        return {"example": _field(field, excluded, ())}
    except NoExample:
        return {}


def example_of_response(descriptor: Descriptor) -> Json:
    """Return the member ``example`` for a response; empty if the message has no option for it."""
    given = message_mapping(descriptor).example
    return {"example": json.loads(given)} if given else {}


def _without(example: Json, excluded: frozenset[str]) -> Json:
    members = {name: value for name, value in example.items() if name not in excluded}
    nested = {name: inside(name, excluded) for name in members}
    return {
        name: _without(value, nested[name]) if isinstance(value, dict) and nested[name] else value
        for name, value in members.items()
    }


def _object(descriptor: Descriptor, excluded: frozenset[str], around: tuple[str, ...]) -> Json:
    if descriptor.full_name in around:
        raise NoExample
    given = message_mapping(descriptor).example
    if given:
        return _without(json.loads(given), excluded)
    within = (*around, descriptor.full_name)
    members: Json = {}
    oneofs: set[str] = set()
    for field in shown_fields(descriptor):
        oneof = field.containing_oneof
        if _is_left_out(field, excluded, within) or (oneof is not None and oneof.name in oneofs):
            continue
        try:
            members[field.name] = _field(field, inside(field.name, excluded), within)
        except NoExample:
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
    constraints = constraints_of(field, in_request=True)
    entry = map_entry(field)
    least = max(1, whole(constraints.items.get("minItems")))
    if entry is not None:
        key_field, value_field = entry
        value = _value(value_field, field, _NOTHING, around)
        keys = constrained(key_field, constraints.keys)
        return {_key(key_field, keys, number): value for number in range(least)}
    if not field.is_repeated:
        return _value(field, field, excluded, around)
    if not constraints.items.get("uniqueItems"):
        return [_value(field, field, _NOTHING, around)] * least
    found = [_value(field, field, _NOTHING, around, number) for number in range(least)]
    if any(one in found[:number] for number, one in enumerate(found)):
        raise NoExample
    return found


def _value(
    field: FieldDescriptor, owner: FieldDescriptor, excluded: frozenset[str], around: tuple[str, ...], number: int = 0
) -> object:
    """Return an example of one value; those of different numbers differ where possible."""
    keywords = constraints_of(owner, in_request=True).value
    if field.enum_type is not None:
        return _enum_value(field.enum_type, keywords, number)
    message = field.message_type
    if message is None:
        return fitting(constrained(field, keywords), number)
    known = well_known_schema(message.full_name, utc_micros=has_utc_micros(owner))
    if known is not None:
        return fitting(known, 0)
    if message.full_name == ANY:
        return {}
    if message.full_name in WRAPPERS:
        return fitting(constrained(message.fields_by_name["value"], keywords), number)
    return _object(message, excluded, around)


def _enum_value(enum: EnumDescriptor, keywords: Keywords, number: int) -> object:
    if enum.full_name == NULL_VALUE:
        return None
    allowed = keywords.get("enum")
    names = allowed if isinstance(allowed, list) else [value.name for value in enum.values]
    # The first value usually means that nothing was chosen.
    return names[(number + 1) % len(names)]


def _key(field: FieldDescriptor, schema: Json, number: int) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return str(fitting({"examples": ["name"], **schema}, number))
    return "true" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else str(number + 1)
