"""Struct, Value and ListValue: any JSON as messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from restmap_gateway.json_map.numbers import finite_from_json
from restmap_gateway.json_map.refusal import Refused, index, member, unexpected
from restmap_gateway.json_map.scalars import string_from_json

# Message classes made from descriptors have attributes that are unknown to mypy, hence Any.
ReadFreely = Callable[[object, Any], None]
WriteFreely = Callable[[Any], object]


def free_form_reader(full_name: str) -> ReadFreely | None:
    """Return a reader that fills a message of type `full_name` from any fitting JSON; None for types of fixed form."""
    match full_name:
        case "google.protobuf.Struct":
            return _read_struct
        case "google.protobuf.Value":
            return _read_value
        case "google.protobuf.ListValue":
            return _read_list
        case _:
            return None


def free_form_writer(full_name: str) -> WriteFreely | None:
    """Return a writer of the JSON in a message of type `full_name`; None for types of fixed form.

    The writer raises ValueError for a number that JSON cannot hold.
    """
    match full_name:
        case "google.protobuf.Struct":
            return _write_struct
        case "google.protobuf.Value":
            return _write_value
        case "google.protobuf.ListValue":
            return _write_list
        case _:
            return None


def _read_value(value: object, message: Any) -> None:  # noqa: ANN401
    match value:
        case None:
            message.null_value = 0
        case bool():
            message.bool_value = value
        case str():
            message.string_value = string_from_json(value)
        case list():
            message.list_value.SetInParent()
            _read_list(value, message.list_value)
        case dict():
            message.struct_value.SetInParent()
            _read_struct(value, message.struct_value)
        case _:
            message.number_value = finite_from_json(value)


def _read_struct(value: object, message: Any) -> None:  # noqa: ANN401
    if type(value) is not dict:
        raise unexpected("an object", value)
    for name, item in value.items():
        try:
            _read_value(item, message.fields[string_from_json(name)])
        except Refused as refused:
            refused.within(member(name))
            raise


def _read_list(value: object, message: Any) -> None:  # noqa: ANN401
    if type(value) is not list:
        raise unexpected("an array", value)
    for position, item in enumerate(value):
        try:
            _read_value(item, message.values.add())
        except Refused as refused:
            refused.within(index(position))
            raise


def _write_value(message: Any) -> object:  # noqa: ANN401
    kind = message.WhichOneof("kind")
    match kind:
        case "number_value":
            return _write_number(message.number_value)
        case "struct_value":
            return _write_struct(message.struct_value)
        case "list_value":
            return _write_list(message.list_value)
        case "string_value" | "bool_value":
            return getattr(message, kind)
        case _:
            return None


def _write_number(number: float) -> int | float:
    """Return a whole number as an integer: 5, not 5.0."""
    if not math.isfinite(number):
        raise ValueError(f"JSON has no number {number}")
    if number.is_integer() and 0 < abs(number) < 2**53:
        return int(number)
    return number


def _write_struct(message: Any) -> dict[str, object]:  # noqa: ANN401
    return {name: _write_value(message.fields[name]) for name in sorted(message.fields)}


def _write_list(message: Any) -> list[object]:  # noqa: ANN401
    return [_write_value(item) for item in message.values]
