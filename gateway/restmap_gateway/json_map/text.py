"""Bytes of a request body → parsed JSON, strictly."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import Final, NoReturn

import orjson

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map.refusal import index, join, member

MOST_VALUES: Final = 5000
"""Members of objects and elements of arrays in one body, where nothing else is said."""

_WHITE_SPACE: Final = " \t\n\r"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_LONGEST_INT: Final = 40
# The pattern consumes the text from left to right and never goes back (possessive), so that its time is linear in it
# whatever it holds.
_WHOLE_CHARACTERS: Final = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)


def parse(body: bytes, *, max_depth: int, max_values: int = MOST_VALUES) -> object:
    """What `body` says: None, bool, int, Decimal, str, list or dict, down to the last leaf.

    Numbers with a fraction or an exponent are `Decimal`, exactly as written, and so are
    integers far beyond 64 bits. Strings are valid Unicode, names in an object are distinct,
    arrays and objects are nested at most `max_depth` deep: parsing and reading recurse, so
    allow about a hundred levels. Members of objects and elements of arrays are at most
    `max_values` in all, which is seen before any of them is made: what a body costs is its
    values, not its bytes.
    Anything else raises `InvalidRequest`; its field is empty, except for a name given
    twice, where it is the path of that member.
    """
    _check_structure(body, max_depth, max_values)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"the body is not valid UTF-8 at byte {error.start}") from None
    value = _scanned(text)
    if ("\\ud" in text or "\\uD" in text) and not _is_unicode(body):
        _check_surrogates(text)
    return value


def _scanned(text: str) -> object:
    try:
        return _whole(text)
    except _DuplicateName:
        raise _duplicate_name(text) from None
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None
    except _NotANumber as error:
        raise _not_json(f"{error} is not a JSON number; a field that takes it wants the string") from None
    except InvalidOperation:
        raise _not_json("the body has a number whose exponent is out of range") from None
    except ValueError:
        raise _not_json(f"the body has an integer of more than {sys.get_int_max_str_digits()} digits") from None


def _whole(text: str) -> object:
    # What JSONDecoder.decode does, in half the time on a small body: it looks for white space with expressions.
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
    # The scanner recurses, and makes an object of each value, so this comes first. Most bodies are seen to be small
    # by these counts; only in others is it worth telling what stands in strings from the rest.
    opened = body.count(b"[") + body.count(b"{")
    if opened <= max_depth and opened + body.count(b",") <= max_values:
        return
    structure, is_whole = _outside_strings(body, max_values)
    # Brackets beyond these are of a value too many, or behind one that closes nothing: there the scanner stops.
    brackets = structure.translate(None, _NO_BRACKETS)[: 2 * max_values + 4]
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > max_depth:
        raise _not_json(f"the body is nested more than {max_depth} levels deep")
    opened = structure.count(b"[") + structure.count(b"{")
    empty = structure.count(b"[]") + structure.count(b"{}")
    # Each value but the first of its array or object has a comma before it.
    if not is_whole or structure.count(b",") + opened - empty > max_values:
        raise _not_json(f"the body has more than {max_values} values, the most that are taken")


def _outside_strings(body: bytes, max_values: int) -> tuple[bytes, bool]:
    """The body without white space, each string a single letter, and whether it is whole.

    It is not where there are more strings than so many values have; every step passes over a string as a whole.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    most = 4 * max_values + 4  # quotes of a value that is a string, and of its name
    pieces = body.split(b'"', most)
    is_whole = len(pieces) <= most
    outside = pieces[::2] if is_whole else pieces[:-1:2]
    return b"s".join(outside).translate(None, b" \t\n\r"), is_whole


def _is_unicode(body: bytes) -> bool:
    """Whether the escapes of JSON that is fine otherwise are whole characters, as a quick parser finds it."""
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
    """An object has a name twice; where it stands is found by reading again."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateName
    return members


def _integer(digits: str) -> int | Decimal:
    # To read n digits as an int takes n² steps, as a Decimal n.
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
    """An object with all its members, equal names too."""

    members: list[tuple[str, object]]


_KEEPING_ALL: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_float=str, parse_int=str)


def _duplicate_name(text: str) -> InvalidRequest:
    """The first name given twice, with its path; or a syntax error further on, which weighs more."""
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
