"""A refused JSON value: the description of the error and the path of the value in the body."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

_LONGEST_QUOTE: Final = 60
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Refused(ValueError):
    """The value is not as expected.

    The exception is raised where the value is read; every level above adds its path segment while the exception passes,
    so that valid input never pays for a path.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description
        self._segments: list[str] = []

    def within(self, segment: str) -> Refused:
        """Add the outer path `segment`, made by `member`, `index` or `key`."""
        self._segments.append(segment)
        return self

    def path(self) -> str:
        """Return the whole path as a client would write it: ``order.lines[1]``."""
        return join(reversed(self._segments))


def unexpected(expected: str, value: object) -> Refused:
    """Return the refusal of a parsed JSON value: ``expected a string, got the number 5``."""
    return Refused(f"expected {expected}, got {describe(value)}")


def unexpected_text(expected: str, text: str) -> Refused:
    """Return the refusal of a string's content: ``expected an integer, got "abc"``."""
    return Refused(f"expected {expected}, got {quote(text)}")


def describe(value: object) -> str:
    """Describe a parsed JSON value: its kind, and its JSON if that is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {quote(value)}"
        case int() | float() | Decimal():
            return f"the number {_shortened(str(value))}"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def quote(text: str) -> str:
    """Return `text` as a JSON string that can be encoded as UTF-8, cut if long."""
    quoted = json.dumps(_shortened(text), ensure_ascii=False)
    return quoted.encode("utf-8", "backslashreplace").decode("utf-8")


def member(name: str) -> str:
    """Return the path segment of an object member: ``.name``, or ``["a name"]``."""
    return f".{_shortened(name)}" if _PLAIN_NAME.fullmatch(name) else key(name)


def key(name: str) -> str:
    """Return the path segment of a map entry: ``["a.b"]``."""
    return f"[{quote(name)}]"


def index(position: int) -> str:
    """Return the path segment of an array element, counted from 0: ``[1]``."""
    return f"[{position}]"


def join(segments: Iterable[str]) -> str:
    """Join segments to a path, outermost first."""
    return "".join(segments).removeprefix(".")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
