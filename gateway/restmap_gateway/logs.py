"""One JSON object a line on standard error, whoever logs it; a line has a largest size.

The server has the same lines: the two are programs of their own and share no code.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import traceback
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, cast

import orjson
import structlog
from structlog.typing import EventDict

MOST_BYTES = 4096
"""Of a line, whatever its event holds."""

_SHORTER = (500, 100, 20)
"""Characters that each value may have, tried one after the other until the line fits."""

_MOST_ITEMS = 20
"""Of a list in a line that is too long."""

_MOST_FRAMES = 12
"""Of the stack of a defect, the innermost."""

_ALWAYS = ("event", "level", "time", "request_id")


class Lines:
    """Writes lines to a file; those of one turn of the event loop at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: deque[bytes] = deque()
        self._is_due = False

    def msg(self, line: bytes) -> None:
        """Write the line soon: in this turn of the event loop, or at once where none runs."""
        self._waiting.append(line)
        if not self._is_due:
            self._is_due = True
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    debug = info = warning = error = msg

    def flush(self) -> None:
        """Write what waits."""
        self._is_due = False  # before it is written: a line that comes from another thread now is due anew
        lines: list[bytes] = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        if lines and not self._file.closed:
            self._file.write(b"\n".join([*lines, b""]))
            self._file.flush()


class _LibraryLines(logging.Handler):
    """Writes what libraries log: their fixed text and where it comes from, never the values that they put into it.

    Those are what clients sent: aiohttp quotes the line that it cannot read, and asyncio the exception of a task.
    """

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = record.msg.partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__
        event: EventDict = {"event": text, "logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            event["exception"] = described(record.exc_info[1])
        self._lines.msg(_line(None, record.levelname.lower(), event))


def _direct(least: int) -> type[structlog.typing.FilteringBoundLogger]:
    """structlog's logger, with a shorter way for the line that every call writes: no processors, no context."""
    filtering: Any = structlog.make_filtering_bound_logger(least)
    if least > logging.INFO:
        return cast("type[structlog.typing.FilteringBoundLogger]", filtering)

    class Direct(filtering):  # type: ignore[misc] # made at run time
        def info(self, event: str, **values: object) -> None:
            values["event"] = event
            self._logger.msg(_line(None, "info", values))

    return cast("type[structlog.typing.FilteringBoundLogger]", Direct)


def configure(level: str) -> Lines:
    """Set up logging for the process, and answer what is written; ``level`` is a name of `logging`, in lower case."""
    least = logging.getLevelNamesMapping()[level.upper()]
    lines = Lines(sys.stderr.buffer)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[_line],
        wrapper_class=_direct(least),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_LibraryLines(lines)], level=max(least, logging.WARNING))
    return lines


def complain(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log what the event loop complains of; asyncio's own handler quotes exceptions, and so what clients sent."""
    exception = context.get("exception")
    found = described(exception) if isinstance(exception, BaseException) else None
    text = str(context.get("message", "")).partition("\n")[0]
    structlog.get_logger("gateway").error("event loop", message=text, exception=found)


def described(exception: BaseException) -> list[str]:
    """An exception and its causes: their types, and the lines of code, without the texts, which may quote a request."""
    found: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = exception
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        found.append(type(following).__qualname__)
        found += _frames(following.__traceback__)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


def _frames(stack: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(stack)[-_MOST_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]


def _line(logger: Any, level: str, event: EventDict) -> bytes:  # noqa: ANN401 - the signature is that of structlog
    """Write an event as one line of JSON, in one step: every call writes such a line."""
    if event.pop("exc_info", False):
        event["exception"] = _current()
    event["level"] = level
    event["time"] = datetime.now(UTC)
    try:
        line = orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z)
    except (TypeError, RecursionError):  # a text that is no Unicode, or a value that holds itself
        line = b""
    return line if 0 < len(line) <= MOST_BYTES else _shortened(event)


def _current() -> list[str]:
    exception = sys.exc_info()[1]
    return [] if exception is None else described(exception)


def _shortened(event: EventDict) -> bytes:
    """The line with each value cut, and marked as cut; of an event with very many values only the usual ones."""
    event["time"] = event["time"].isoformat()[:-6] + "Z"
    for most in _SHORTER:
        line = orjson.dumps({name: _cut(value, most) for name, value in event.items()})
        if len(line) <= MOST_BYTES:
            return line
    return orjson.dumps({name: _cut(event[name], _SHORTER[-1]) for name in _ALWAYS if name in event})


def _cut(value: object, most: int) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**53) < value < 2**53:
        return value
    if isinstance(value, list | tuple):
        value = value[:_MOST_ITEMS]
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= most else f"{text[:most]}…"
    return text.encode("utf-8", "backslashreplace").decode()
