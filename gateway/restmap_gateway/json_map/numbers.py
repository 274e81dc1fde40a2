"""Integers and floating-point numbers: from JSON, from text, and to JSON."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Final

from restmap_gateway.json_map.refusal import unexpected, unexpected_text

_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER_TEXT: Final = re.compile(r"0|-?[1-9][0-9]*")
_LONGEST_64_BIT: Final = 20  # characters of -9223372036854775808 and of 18446744073709551615
_FLOAT32: Final = struct.Struct("<f")
_SPECIAL: Final = ("NaN", "Infinity", "-Infinity")


def integer_from_json(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of an integer from `low` to `high`: a number, or a string with one.

    An exponent and a fraction of zeros are accepted if the value is whole.
    """
    expected = f"an integer from {low} to {high}"

    def read(value: object) -> int:
        if type(value) is int and low <= value <= high:
            return value
        number = _whole(value)
        if number is None or not low <= number <= high:
            raise unexpected(expected, value)
        return number

    return read


def integer_from_text(low: int, high: int, *, saturates: bool = False) -> Callable[[str], int]:
    """Return a reader of an integer from `low` to `high`: an optional minus sign and digits without leading zeros.

    With `saturates`, an integer out of range is read as the nearer limit.
    """
    expected = f"an integer from {low} to {high}"

    def read(text: str) -> int:
        if saturates and _INTEGER_TEXT.fullmatch(text):
            beyond = low if text.startswith("-") else high
            return beyond if len(text) > _LONGEST_64_BIT else max(low, min(int(text), high))
        if len(text) > _LONGEST_64_BIT or not _INTEGER_TEXT.fullmatch(text) or not low <= int(text) <= high:
            raise unexpected_text(expected, text)
        return int(text)

    return read


def _whole(value: object) -> int | None:
    """Return the integer that `value` means; None if it is not an integer or far beyond 64 bits."""
    if type(value) is int:
        return value
    number = _decimal(value)
    if number is None or not number.is_finite():
        return None
    if number == 0:
        return 0
    # 1e999999999 is a legal number, so limit the digits before the conversion.
    if not 0 <= number.adjusted() < _LONGEST_64_BIT or number != number.to_integral_value():
        return None
    return int(number)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    if type(value) is float:
        return Decimal(value)
    if type(value) is str and _JSON_NUMBER.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:  # the exponent is too large
            return None
    return None


def double_from_json(value: object) -> float:
    """Read a 64-bit float: a number, a string with one, or "NaN", "Infinity", "-Infinity"."""
    number = _float(value)
    if number is None:
        raise unexpected("a number", value)
    if math.isinf(number) and value not in _SPECIAL:
        raise unexpected("a number within the range of a 64-bit float", value)
    return number


def float_from_json(value: object) -> float:
    """Read a 32-bit float in the same forms as a 64-bit one."""
    number = double_from_json(value)
    try:
        _FLOAT32.pack(number)
    except OverflowError:
        raise unexpected("a number within the range of a 32-bit float", value) from None
    return number


def double_from_text(text: str) -> float:
    """Read a 64-bit float from text: a JSON number, or NaN, Infinity, -Infinity."""
    if text not in _SPECIAL and not _JSON_NUMBER.fullmatch(text):
        raise unexpected_text("a number", text)
    return double_from_json(text)


def float_from_text(text: str) -> float:
    """Read a 32-bit float from text: a JSON number, or NaN, Infinity, -Infinity."""
    double_from_text(text)
    return float_from_json(text)


def finite_from_json(value: object) -> float:
    """Read a number that JSON itself can hold; strings are refused."""
    if type(value) is str or not math.isfinite(number := double_from_json(value)):
        raise unexpected("a finite number", value)
    return number


def _float(value: object) -> float | None:
    if type(value) is int or type(value) is float or isinstance(value, Decimal):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if type(value) is str and (value in _SPECIAL or _JSON_NUMBER.fullmatch(value)):
        return float(value)
    return None


def double_to_json(value: float) -> float | str:
    """Return a number, or "NaN", "Infinity", "-Infinity"."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def float_to_json(value: float) -> float | str:
    """Return the shortest decimal for the same 32-bit float, or "NaN", "Infinity", "-Infinity"."""
    if not math.isfinite(value):
        return double_to_json(value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if _same_float32(short, value):
            return short
    return float(f"{value:.9g}")


def _same_float32(number: float, expected: float) -> bool:
    try:
        return _FLOAT32.unpack(_FLOAT32.pack(number)) == (expected,)
    except OverflowError:  # rounded up past the largest float
        return False
