"""Values that fit a schema, for examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from restmap_gateway.openapi.values import Json

_OF_FORMATS: Mapping[str, str] = {
    "byte": "AAEC",
    "email": "name{}@example.com",
    "hostname": "host{}.example.com",
    "ipv4": "192.0.2.{}",
    "ipv6": "2001:db8::{}",
    "uri": "https://example.com/{}",
    "uri-reference": "/{}",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c33{:02}",
}
"""Examples of formats, with a place for a number."""


_OF_TEXT = frozenset({"minLength", "maxLength", "pattern", "allOf"})
"""Keywords that a text may not fit."""


class NoExample(Exception):
    """The message must contain itself, or nothing was found that fits the constraints."""


def fitting(schema: Json, number: int) -> object:
    """Return a value that fits a schema: its example, else the simplest one; values of different numbers differ.

    Raises:
        NoExample: no value was found.
    """
    choice = schema.get("enum")
    if isinstance(choice, list):
        return choice[number % len(choice)]
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list) and "type" not in schema:
        return fitting(alternatives[0], number)
    examples = schema.get("examples")
    first = examples if isinstance(examples, list) and not number else []
    for value in chain(first, _candidates(schema, number)):
        if _fits(schema, value):
            return value
    raise NoExample


def _candidates(schema: Json, number: int) -> Iterable[object]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    match schema.get("type"):
        case "boolean":
            return [number == 0]
        case "array":
            return [[]]
        case "object":
            return [{}]
        case "string":
            return _texts(schema, number)
        case "integer":
            return [
                number + 1,
                whole(low) + number,
                whole(low) + 1 + number,
                whole(high) - number,
                -1 - number,
            ]
        case _:
            return [1.5 + number, whole(low) + 0.5 + number, whole(high) - 0.5 - number]


def _texts(schema: Json, number: int) -> Iterator[str]:
    form = str(schema.get("format", ""))
    if form in _OF_FORMATS:
        yield _OF_FORMATS[form].format(number)
        return
    least, most = whole(schema.get("minLength")), whole(schema.get("maxLength", 1 << 20))
    end = str(number) if number else ""
    for text in ("string", "a", "A", "0", "a-b", "a/b", "name@example.com", "https://example.com"):
        full = f"{text}{end}"
        yield full
        yield f"{text * (1 + least)}"[: max(0, least - len(end))] + end
        yield full[-most:] if most else ""


def _fits(schema: Json, value: object) -> bool:
    if isinstance(value, str):
        others = schema.get("allOf")
        patterns = [schema, *(others if isinstance(others, list) else [])]
        if not schema.keys() & _OF_TEXT:
            return True
        is_long = whole(schema.get("minLength")) <= len(value) <= whole(schema.get("maxLength", 1 << 20))
        return is_long and all(re.search(str(one.get("pattern", "")), value) for one in patterns)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    bounds = {name: float(bound) for name, bound in schema.items() if isinstance(bound, (int, float))}
    return bounds.get("minimum", value) <= value <= bounds.get("maximum", value) and bounds.get(
        "exclusiveMinimum", value - 1
    ) < value < bounds.get("exclusiveMaximum", value + 1)


def whole(value: object) -> int:
    """Return a number of a schema as an integer; 0 for none."""
    return int(value) if isinstance(value, (int, float)) else 0
