"""One event of the log as one line of JSON of a bounded size, whatever the event holds."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
from structlog.typing import EventDict

Render = Callable[[Any, str, EventDict], bytes]
"""A processor of structlog: logger, level and event to a line without its end."""

_SHORTER = (2000, 500, 100, 20)
"""Characters that each value may have, tried one after the other until the line fits."""

_MOST_ITEMS = 20
"""Of a list in a line that is too long."""

_MOST_FRAMES = 12
"""Of the stack of a defect, the innermost."""

_ALWAYS = ("event", "level", "time", "request_id")


def renderer(most_bytes: int) -> Render:
    """Make what writes an event as a line of fewer than ``most_bytes`` bytes."""

    def render(_: Any, level: str, event: EventDict) -> bytes:  # noqa: ANN401 - the signature is that of structlog
        # In one step, as every call writes such a line.
        if "exc_info" in event:
            event = _explained(event)
        event["level"] = level
        event["time"] = datetime.now(UTC)
        try:
            line = orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z)
        except (TypeError, RecursionError):  # a text that is no Unicode, a large number, or a value that holds itself
            return _shortened(event, most_bytes)
        return line if len(line) < most_bytes else _shortened(event, most_bytes)

    return render


def described(exception: BaseException, *, with_texts: bool = False) -> list[str]:
    """An exception and its causes: their types and the lines of code, innermost first.

    Their texts are left out unless asked for: they may quote a request.
    """
    found: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = exception
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        name = type(following).__qualname__
        found.append(f"{name}: {text_of(following)}" if with_texts else name)
        found += _frames(following.__traceback__)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


def text_of(value: object) -> str:
    """A value as text; its type where it cannot be shown."""
    try:
        return value if isinstance(value, str) else str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 -- whatever a value does, the line is written
        return type(value).__name__


def _explained(event: EventDict) -> EventDict:
    """The event with what was raised instead of ``exc_info``: an exception, or true for the current one."""
    given = event.pop("exc_info")
    exception = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if exception is not None:
        event["exception"] = described(exception)
    return event


def _frames(stack: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(stack)[-_MOST_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]


def _shortened(event: EventDict, most_bytes: int) -> bytes:
    """The line with each value cut, and marked as cut; of an event with very many values only the usual ones."""
    event["time"] = event["time"].isoformat()[:-6] + "Z"
    for most in _SHORTER:
        line = orjson.dumps({_cut_text(str(name), most): _cut(value, most) for name, value in event.items()})
        if len(line) < most_bytes:
            return line
    return orjson.dumps({name: _cut(event[name], _SHORTER[-1]) for name in _ALWAYS if name in event})


def _cut(value: object, most: int) -> object:
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    if isinstance(value, list | tuple):
        return [_cut_text(text_of(item), most) for item in value[:_MOST_ITEMS]]
    return _cut_text(text_of(value), most)


def _cut_text(text: str, most: int) -> str:
    """Keep both ends, as the end often says most."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    return text.encode("utf-8", "backslashreplace").decode()
