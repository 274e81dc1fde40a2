"""Fields with one value: bool, string, bytes, and every scalar by the type of its field."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from restmap_gateway.json_map.enums import enum_from_json, enum_from_text, enum_to_json
from restmap_gateway.json_map.fields import field_mapping, has_utc_micros, map_entry
from restmap_gateway.json_map.numbers import (
    double_from_json,
    double_from_text,
    double_to_json,
    float_from_json,
    float_from_text,
    float_to_json,
    integer_from_json,
    integer_from_text,
)
from restmap_gateway.json_map.refusal import unexpected, unexpected_text
from restmap_gateway.json_map.well_known.text_forms import TextForm, text_form

# The value of a scalar field in its message: bool, int, float, str or bytes.
Scalar = Any

WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)

_INT32: Final = (-(2**31), 2**31 - 1)
_INT64: Final = (-(2**63), 2**63 - 1)
_UINT32: Final = (0, 2**32 - 1)
_UINT64: Final = (0, 2**64 - 1)
_TO_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


def scalar_from_json(field: FieldDescriptor) -> Callable[[object], Scalar]:
    """Return a reader of one scalar or enum value from parsed JSON; it raises `Refused`, also for null."""
    match field.type:
        case FieldDescriptor.TYPE_BOOL:
            return bool_from_json
        case FieldDescriptor.TYPE_STRING:
            return string_from_json
        case FieldDescriptor.TYPE_BYTES:
            return bytes_from_json
        case FieldDescriptor.TYPE_DOUBLE:
            return double_from_json
        case FieldDescriptor.TYPE_FLOAT:
            return float_from_json
        case FieldDescriptor.TYPE_ENUM if field.enum_type is not None:
            return enum_from_json(field.enum_type)
        case _:
            return integer_from_json(*_integer_range(field))


def scalar_from_text(field: FieldDescriptor) -> Callable[[str], Scalar]:
    """Return a reader of one scalar or enum value from text; it raises `Refused`."""
    match field.type:
        case FieldDescriptor.TYPE_BOOL:
            return bool_from_text
        case FieldDescriptor.TYPE_STRING:
            return string_from_json
        case FieldDescriptor.TYPE_BYTES:
            return bytes_from_text
        case FieldDescriptor.TYPE_DOUBLE:
            return double_from_text
        case FieldDescriptor.TYPE_FLOAT:
            return float_from_text
        case FieldDescriptor.TYPE_ENUM if field.enum_type is not None:
            return enum_from_text(field.enum_type)
        case _:
            return integer_from_text(*_integer_range(field), saturates=field_mapping(field).saturates)


def scalar_to_json(field: FieldDescriptor) -> Callable[[Scalar], object] | None:
    """Return a writer of one scalar or enum value; None if JSON holds the value unchanged."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
            return str
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return double_to_json
        case FieldDescriptor.CPPTYPE_FLOAT:
            return float_to_json
        case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
            return enum_to_json(field.enum_type)
        case _:
            return bytes_to_json if field.type == FieldDescriptor.TYPE_BYTES else None


def text_parser(field: FieldDescriptor) -> Callable[[str], Scalar | Message]:
    """Return a parser of one value of `field`, or of one element, from a query parameter or a path variable.

    The parser returns the value of a scalar field, or a message to copy from. It raises ValueError with a description
    for the client. Raise TypeError at once for a message type without a text form.
    """
    if field.message_type is None:
        return scalar_from_text(field)
    make = GetMessageClass(field.message_type)
    form = text_form(field.message_type.full_name, utc_micros=has_utc_micros(field), in_url=True)
    if form is not None:
        return _message_from_text(make, form)
    if field.message_type.full_name in WRAPPERS:
        return _wrapper_from_text(make, scalar_from_text(field.message_type.fields_by_name["value"]))
    kind = "map" if map_entry(field) else field.message_type.full_name
    raise TypeError(f"{field.full_name}: a {kind} cannot be a query parameter or path variable")


def _message_from_text(make: Callable[[], Message], form: TextForm) -> Callable[[str], Message]:
    def read(text: str) -> Message:
        message = make()
        form.read(text, message)
        return message

    return read


def _wrapper_from_text(make: Callable[..., Message], read_value: Callable[[str], Scalar]) -> Callable[[str], Message]:
    def read(text: str) -> Message:
        return make(value=read_value(text))

    return read


def _integer_range(field: FieldDescriptor) -> tuple[int, int]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT32:
            return _INT32
        case FieldDescriptor.CPPTYPE_INT64:
            return _INT64
        case FieldDescriptor.CPPTYPE_UINT32:
            return _UINT32
        case FieldDescriptor.CPPTYPE_UINT64:
            return _UINT64
        case _:
            raise TypeError(f"{field.full_name} is no scalar")


def bool_from_json(value: object) -> bool:
    """Read true or false, nothing else."""
    if value is True or value is False:
        return value
    raise unexpected("true or false", value)


def bool_from_text(text: str) -> bool:
    """Read ``true`` or ``false``, nothing else."""
    if text == "true":
        return True
    if text == "false":
        return False
    raise unexpected_text("true or false", text)


def string_from_json(value: object) -> str:
    """Read a string that can be encoded as UTF-8."""
    if type(value) is not str:
        raise unexpected("a string", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise unexpected_text("valid Unicode", value) from None
    return value


def bytes_from_json(value: object) -> bytes:
    """Read a base64 string, in either alphabet, with or without padding."""
    if type(value) is not str:
        raise unexpected("a string of base64", value)
    return bytes_from_text(value)


def bytes_from_text(text: str) -> bytes:
    """Read base64, in either alphabet, with or without padding."""
    padding = "" if "=" in text else "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(text.translate(_TO_STANDARD_ALPHABET) + padding, strict_mode=True)
    except ValueError:
        raise unexpected_text("base64", text) from None


def bytes_to_json(value: bytes) -> str:
    """Return base64 in the standard alphabet, with padding."""
    return base64.b64encode(value).decode("ascii")
