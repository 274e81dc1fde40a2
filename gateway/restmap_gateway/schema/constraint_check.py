"""Checks the options that only describe values: constraints of fields, and examples of messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap.v1 import restmap_pb2
from restmap_gateway.json_map.fields import field_mapping, map_entry, message_mapping
from restmap_gateway.json_map.scalars import WRAPPERS

_OF_NUMBERS = ("minimum", "maximum")
_OF_TEXT = ("min_length", "max_length", "pattern", "allowed", "format")
_OF_ITEMS = ("min_items", "max_items", "unique_items")
_NUMBERS = frozenset(
    {
        *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32),
        *(FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE),
    }
)
_RANGES = (("minimum", "maximum"), ("min_length", "max_length"), ("min_items", "max_items"))


def example_problems(message: Descriptor) -> Iterator[str]:
    """Yield the errors in the example of a message."""
    example = message_mapping(message).example
    if not example:
        return
    try:
        found = json.loads(example)
    except ValueError as error:
        yield f"the example is not JSON: {error}"
        return
    if not isinstance(found, dict):
        yield f"the example must be a JSON object, not {example[:40]!r}"


def constraint_problems(field: FieldDescriptor) -> Iterator[str]:
    """Yield the errors in the constraints of a field."""
    option = field_mapping(field).constraints
    given = {one.name for one, _ in option.ListFields()}
    value = _value_of(field)
    if given & {*_OF_NUMBERS} and value.cpp_type not in _NUMBERS:
        yield f"{_names(given, _OF_NUMBERS)} in constraints, but its values are no numbers"
    if given & {*_OF_TEXT} and value.type != FieldDescriptor.TYPE_STRING:
        yield f"{_names(given, _OF_TEXT)} in constraints, but its values are no text"
    if given & {*_OF_ITEMS} and not field.is_repeated:
        yield f"{_names(given, _OF_ITEMS)} in constraints, but it is neither repeated nor a map"
    yield from _range_problems(option, given)
    try:
        re.compile(option.pattern)
    except re.error as error:
        yield f"the pattern {option.pattern!r} in constraints is no regular expression: {error}"


def _range_problems(option: restmap_pb2.Constraints, given: set[str]) -> Iterator[str]:
    for low, high in _RANGES:
        least, most = getattr(option, low), getattr(option, high)
        if {low, high} <= given and least > most:
            yield f"{low} {least} in constraints is larger than {high} {most}"


def _names(given: set[str], kind: tuple[str, ...]) -> str:
    return f"has {', '.join(name for name in kind if name in given)}"


def _value_of(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field of one value: that of a map entry or a wrapper, or the field itself."""
    entry = map_entry(field)
    value = field if entry is None else entry[1]
    inner = value.message_type
    return inner.fields_by_name["value"] if inner is not None and inner.full_name in WRAPPERS else value
