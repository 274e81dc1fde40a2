"""Bytes of a request body → parsed JSON, strictly."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Final, NoReturn

import orjson

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map.refusal import index, join, member

MOST_VALUES: Final = 5000
"""Default maximum of object members and array elements in one body."""

_BYTES_PER_VALUE: Final = 8
"""Bytes for each permitted value: a body up to this size is parsed before its values are counted, and costs little."""

_POINT: Final = ord(".")
_BLANK_BEFORE_COLON: Final = re.compile(rb"[ \t\n\r]:")

_WHITE_SPACE: Final = " \t\n\r"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_LONGEST_INT: Final = 40
# The pattern reads the text from left to right without backtracking (possessive), so that its time is linear for any
# text.
_WHOLE_CHARACTERS: Final = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)


def parse(body: bytes, *, max_depth: int, max_values: int = MOST_VALUES) -> object:
    """Parse `body` completely: None, bool, int, Decimal, str, list or dict.

    Numbers with a fraction or an exponent are `Decimal`, exactly as written, and so are integers far beyond 64 bits.
    Strings are valid Unicode, and names in an object are distinct. Arrays and objects are nested at most `max_depth`
    deep: parsing and reading recurse, so allow about a hundred levels. Object members and array elements are at most
    `max_values` in total; in a long body this is checked before any of them is created, because a body costs by its
    values, not by its bytes.

    Anything else raises `InvalidRequest`; its field is empty, or the path of the member for a repeated name.
    """
    is_short = len(body) <= _BYTES_PER_VALUE * max_values
    if not is_short:
        _check_structure(body, max_depth, max_values)
    if _POINT not in body:  # without fractions, as nearly always; orjson would round them
        try:
            value = orjson.loads(body)
            members, elements = _counted(value, max_depth - 1)
        except ValueError:
            pass  # the exact parser finds the error and its place
        else:
            if members + elements <= max_values and _is_each_once(body, members):
                return value
    if is_short:
        _check_structure(body, max_depth, max_values)
    return _exactly(body)


def _exactly(body: bytes) -> object:
    """Parse a body of checked structure, with numbers exactly as written."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"the body is not valid UTF-8 at byte {error.start}") from None
    value = _scanned(text)
    if ("\\ud" in text or "\\uD" in text) and not _is_unicode(body):
        _check_surrogates(text)
    return value


def _counted(value: object, levels: int) -> tuple[int, int]:
    """Return the numbers of object members and of array elements in a parsed value.

    Raises:
        ValueError: there are more than these levels inside of the value, or a number may have lost digits.
    """
    members = elements = 0
    items: Collection[object] = (value,)
    if type(value) is dict:
        members = len(value)
        items = value.values()
    elif type(value) is list:
        elements = len(value)
        if _are_texts(value):
            return 0, elements
        items = value
    for item in items:
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            if not levels:
                raise ValueError
            inner_members, inner_elements = _counted(item, levels - 1)
            members += inner_members
            elements += inner_elements
        elif kind is float:
            raise ValueError
    return members, elements


def _are_texts(items: list[object]) -> bool:
    """Return whether all items are strings: only then can they be joined, which is faster than a look at each type."""
    if not items or type(items[0]) is not str:
        return False
    try:
        "".join(items)  # type: ignore[arg-type] # the question
    except TypeError:
        return False
    return True


def _is_each_once(body: bytes, members: int) -> bool:
    """Return whether valid JSON surely has no more members than these: its names are then distinct."""
    # Each member has a colon. The length of a copy is known sooner than what bytes.count returns.
    if len(body) - len(body.replace(b":", b"")) == members:
        return True
    # Strings may have colons too, but few have a quote before one, and then a backslash before the quote.
    return body.count(b'":') == members and not _BLANK_BEFORE_COLON.search(body)


def _scanned(text: str) -> object:
    try:
        return _whole(text)
    except _DuplicateName:
        raise _duplicate_name(text) from None
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None
    except _NotANumber as error:
        raise _not_json(f"{error} is not a JSON number; write it as a string where a field accepts it") from None
    except InvalidOperation:
        raise _not_json("the body has a number whose exponent is out of range") from None
    except ValueError:
        raise _not_json(f"the body has an integer of more than {sys.get_int_max_str_digits()} digits") from None


def _whole(text: str) -> object:
    # Same as JSONDecoder.decode, which takes twice as long on a small body because it skips white space with
    # expressions.
    value, end = _STRICT.raw_decode(text, len(text) - len(text.lstrip(_WHITE_SPACE)))
    if end != len(text) and (behind := text[end:].lstrip(_WHITE_SPACE)):
        raise json.JSONDecodeError("Extra data", text, len(text) - len(behind))
    return value


def _syntax_error(text: str, error: json.JSONDecodeError) -> InvalidRequest:
    if not text.strip():
        return _not_json("the body is empty, expected JSON")
    if text.startswith("\ufeff"):
        return _not_json("the body starts with a byte order mark, expected JSON in plain UTF-8")
    if error.msg == "Extra data":
        return _not_json(f"the body goes on after the JSON value at {_place(text, error.pos)}")
    return _not_json(f"the body is not JSON at {_place(text, error.pos)}: {error.msg.removesuffix(' at').lower()}")


def _check_structure(body: bytes, max_depth: int, max_values: int) -> None:
    # This check comes first because the scanner recurses and creates an object for each value. For most bodies these
    # counts are sufficient; only the others need the content of strings removed.
    opened = body.count(b"[") + body.count(b"{")
    if opened <= max_depth and opened + body.count(b",") <= max_values:
        return
    structure, is_whole = _outside_strings(body, max_values)
    # Brackets beyond this number belong to a value above the limit, or follow one that closes nothing: the scanner
    # stops there.
    brackets = structure.translate(None, _NO_BRACKETS)[: 2 * max_values + 4]
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > max_depth:
        raise _not_json(f"the body is nested more than {max_depth} levels deep")
    opened = structure.count(b"[") + structure.count(b"{")
    empty = structure.count(b"[]") + structure.count(b"{}")
    # A comma precedes each value except the first of its array or object.
    if not is_whole or structure.count(b",") + opened - empty > max_values:
        raise _not_json(f"the body has more than {max_values} values, the most that are taken")


def _outside_strings(body: bytes, max_values: int) -> tuple[bytes, bool]:
    """Return the body without white space and with each string as one letter, and whether the body is complete.

    The body is incomplete if it has more strings than `max_values` can have; every step skips a whole string.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    most = 4 * max_values + 4  # quotes of the name and of a string value
    pieces = body.split(b'"', most)
    is_whole = len(pieces) <= most
    outside = pieces[::2] if is_whole else pieces[:-1:2]
    return b"s".join(outside).translate(None, b" \t\n\r"), is_whole


def _is_unicode(body: bytes) -> bool:
    """Return whether the escapes in valid JSON are complete characters, according to a fast parser."""
    try:
        orjson.loads(body)
    except ValueError:
        return False
    return True


def _check_surrogates(text: str) -> None:
    match = _WHOLE_CHARACTERS.match(text)
    end = match.end() if match else 0
    if end < len(text):
        raise _not_json(f"{text[end : end + 6]} at {_place(text, end)} is half a character: a lone surrogate")


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}"


def _not_json(description: str) -> InvalidRequest:
    return InvalidRequest(Violation("", description))


class _NotANumber(Exception):
    """NaN, Infinity or -Infinity without quotes."""


class _DuplicateName(Exception):
    """An object has a name twice; a second read finds its path."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateName
    return members


def _integer(digits: str) -> int | Decimal:
    # Reading n digits takes n² steps as an int, but n as a Decimal.
    if len(digits) <= _LONGEST_INT:
        return int(digits)
    if len(digits.removeprefix("-")) > sys.get_int_max_str_digits():
        raise ValueError
    return Decimal(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise _NotANumber(name)


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=Decimal, parse_constant=_refuse_constant
)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """An object with all its members, including repeated names."""

    members: list[tuple[str, object]]


_KEEPING_ALL: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str)


def _duplicate_name(text: str) -> InvalidRequest:
    """Return the error for a later syntax error if there is one, else for the first repeated name, with its path."""
    try:
        tree = _KEEPING_ALL.decode(text)
    except json.JSONDecodeError as error:
        return _syntax_error(text, error)
    path = next(_repeated(tree, ()))
    return InvalidRequest(Violation(join(path), "is given more than once"))


def _repeated(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, list | _Pairs):
                yield from _repeated(item, (*path, index(position)))
    elif isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value.members:
            if name in seen:
                yield (*path, member(name))
            seen.add(name)
            if isinstance(item, list | _Pairs):
                yield from _repeated(item, (*path, member(name)))
