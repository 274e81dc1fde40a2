"""Bytes of a request body → parsed JSON, strictly."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

from gateway.errors import InvalidRequest, Violation
from gateway.json_map.refusal import index, join, member

# Both patterns consume the text from left to right and never go back (possessive),
# so that their time is linear in it whatever it holds.
_WHITE_SPACE: Final = " \t\n\r"
_UP_TO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"?)*+([\[\]{}])?', re.DOTALL)
_WHOLE_CHARACTERS: Final = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)


def parse(body: bytes, *, max_depth: int) -> object:
    """What `body` says: None, bool, int, Decimal, str, list or dict, down to the last leaf.

    Numbers with a fraction or an exponent are `Decimal`, exactly as written. Strings are
    valid Unicode, names in an object are distinct, arrays and objects are nested at most
    `max_depth` deep: parsing and reading recurse, so allow about a hundred levels.
    Anything else raises `InvalidRequest`; its field is empty, except for a name given
    twice, where it is the path of that member.
    """
    _check_depth(body, max_depth)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"the body is not valid UTF-8 at byte {error.start}") from None
    value = _scanned(text)
    if "\\u" in text:
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


def _check_depth(body: bytes, max_depth: int) -> None:
    # The scanner recurses, so this comes first. Most bodies have fewer brackets than levels allowed.
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    depth = 0
    for match in _UP_TO_BRACKET.finditer(body):
        if match[1] in (b"[", b"{"):
            depth += 1
            if depth > max_depth:
                raise _not_json(f"the body is nested more than {max_depth} levels deep")
        else:
            depth -= 1


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


def _refuse_constant(name: str) -> NoReturn:
    raise _NotANumber(name)


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=Decimal, parse_constant=_refuse_constant)


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
            yield from _repeated(item, (*path, index(position)))
    elif isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value.members:
            if name in seen:
                yield (*path, member(name))
            seen.add(name)
            yield from _repeated(item, (*path, member(name)))
