"""Rendering of one log event as one JSON line of bounded size."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
from structlog.typing import EventDict

from programkit.tracing.spans import current

Render = Callable[[Any, str, EventDict], bytes]
"""A structlog processor: renders logger, level and event as a line without a line break."""

_SHORTER = (2000, 500, 100, 20)
"""Maximum characters per value; each limit is tried in turn until the line fits."""

_MOST_ITEMS = 20
"""Maximum items of a list in a line that is too long."""

_MOST_FRAMES = 12
"""Maximum stack frames of an exception; the innermost frames are kept."""

_ALWAYS = ("event", "level", "time", "request_id", "trace_id", "span_id")


def renderer(most_bytes: int) -> Render:
    """Return a function that renders an event as a line of fewer than ``most_bytes`` bytes."""

    def render(_: Any, level: str, event: EventDict) -> bytes:  # noqa: ANN401 - structlog defines the signature
        # One processor instead of a chain, because every call writes a line.
        if "exc_info" in event:
            event = _explained(event)
        event["level"] = level
        event["time"] = datetime.now(UTC)
        if (span := current()) is not None:
            event["trace_id"], event["span_id"] = span.trace_id, span.span_id
        try:
            line = orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z)
        except (TypeError, RecursionError):  # invalid Unicode, an integer beyond 64 bits, or a recursive value
            return _shortened(event, most_bytes)
        return line if len(line) < most_bytes else _shortened(event, most_bytes)

    return render


def described(exception: BaseException, *, with_texts: bool = False) -> list[str]:
    """Return the types and the lines of code of an exception and its causes, innermost first.

    The texts of the exceptions are left out without ``with_texts``, because a text may quote a request.
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
    """Return a value as text, or the name of its type if the conversion fails."""
    try:
        return value if isinstance(value, str) else str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 -- a value that fails must not prevent the log line
        return type(value).__name__


def _explained(event: EventDict) -> EventDict:
    """Replace ``exc_info`` (an exception, or true for the current exception) by a description of the exception."""
    given = event.pop("exc_info")
    exception = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if exception is not None:
        event["exception"] = described(exception)
    return event


def _frames(stack: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(stack)[-_MOST_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]


def _shortened(event: EventDict, most_bytes: int) -> bytes:
    """Return the line with each long value cut and marked; an event with too many values keeps only `_ALWAYS`."""
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
    """Cut the middle of a text, because the end often holds the most useful part."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    return text.encode("utf-8", "backslashreplace").decode()
