"""Enum values: by name or by number."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.descriptor import EnumDescriptor

from restmap_gateway.json_map.numbers import integer_from_json, integer_from_text
from restmap_gateway.json_map.refusal import quote, unexpected, unexpected_text

NULL_VALUE: Final = "google.protobuf.NullValue"

_Given = TypeVar("_Given")
_MOST_NAMED: Final = 8
_INT32: Final = (-(2**31), 2**31 - 1)


def enum_from_json(enum: EnumDescriptor) -> Callable[[object], int]:
    """Return a reader of `enum` values by name or number; unknown numbers are accepted only if the enum is open."""
    by_name = _by_name(enum)
    by_number = _by_number(enum, integer_from_json(*_INT32))
    takes_null = enum.full_name == NULL_VALUE

    def read(value: object) -> int:
        if type(value) is str:
            return by_name(value)
        if value is None and takes_null:
            return 0
        return by_number(value)

    return read


def enum_from_text(enum: EnumDescriptor) -> Callable[[str], int]:
    """Return a reader of `enum` values from text: name or number."""
    by_name = _by_name(enum)
    by_number = _by_number(enum, integer_from_text(*_INT32))

    def read(text: str) -> int:
        if text.removeprefix("-").isdecimal():
            return by_number(text)
        return by_name(text)

    return read


def enum_to_json(enum: EnumDescriptor) -> Callable[[int], object]:
    """Return a writer of value names; a number without a name stays a number, and the first alias declared is used."""
    if enum.full_name == NULL_VALUE:
        return lambda number: None
    names: dict[int, str] = {}
    for value in enum.values:
        names.setdefault(value.number, value.name)

    def write(number: int) -> object:
        return names.get(number, number)

    return write


def _by_name(enum: EnumDescriptor) -> Callable[[str], int]:
    numbers = {value.name: value.number for value in enum.values}

    def read(name: str) -> int:
        number = numbers.get(name)
        if number is None:
            raise unexpected_text(_expected(list(numbers), name), name)
        return number

    return read


def _by_number(enum: EnumDescriptor, read_number: Callable[[_Given], int]) -> Callable[[_Given], int]:
    known = frozenset(value.number for value in enum.values)
    closed = enum.is_closed

    def read(value: _Given) -> int:
        try:
            number = read_number(value)
        except ValueError:
            raise unexpected(_expected([v.name for v in enum.values]), value) from None
        if closed and number not in known:
            raise unexpected(_expected([v.name for v in enum.values]), value)
        return number

    return read


def _expected(names: list[str], wrong: str = "") -> str:
    """Return the expected values: all names of a small enum, else the most similar ones, else the first ones."""
    if len(names) <= _MOST_NAMED:
        return f"one of {', '.join(map(quote, names))}"
    near = difflib.get_close_matches(wrong[:100], names, n=3, cutoff=0.7)
    shown = near or names[:3]
    return f"one of {len(names)} names such as {', '.join(map(quote, shown))}"
