"""One JSON object a line on standard error, whoever logs it; a line has a largest size."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import orjson
import structlog
from structlog.typing import EventDict

MOST_BYTES = 8192
"""Of a line, whatever its event holds."""

_SHORTER = (2000, 500, 100, 20)
"""Characters that each value may have, tried one after the other until the line fits."""

_MOST_ITEMS = 20
"""Of a list in a line that is too long."""

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


class LibraryLines(logging.Handler):
    """Writes what libraries, and the rooms below, log through the standard library: it looks the same."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            event: EventDict = {"event": record.getMessage()}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            self._lines.msg(_line(None, record.levelname.lower(), event))
        except Exception:  # noqa: BLE001 -- as all handlers of the standard library do
            self.handleError(record)


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
    logging.basicConfig(handlers=[LibraryLines(lines)], level=max(least, logging.WARNING))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_departure)
    # Of what it warns the store tells the outcome; a transaction that fails as it should is no warning at all.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    return lines


def _is_no_departure(record: logging.LogRecord) -> bool:
    """Whether gRPC says more than that a client went away just as its call ended: it takes that for an error."""
    raised = record.exc_info[0] if record.exc_info else None
    return raised is None or raised.__name__ not in ("ExecuteBatchError", "CancelledError")


def _line(logger: Any, level: str, event: EventDict) -> bytes:  # noqa: ANN401 - the signature is that of structlog
    """Write an event as one line of JSON, in one step: every call writes such a line."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    event["level"] = level
    event["time"] = datetime.now(UTC)
    try:
        line = orjson.dumps(event, default=repr, option=orjson.OPT_UTC_Z)
    except (TypeError, RecursionError):  # a text that is no Unicode, a large number, or a value that holds itself
        return _shortened(event)
    return line if len(line) < MOST_BYTES else _shortened(event)


def _shortened(event: EventDict) -> bytes:
    """The line with each value cut, and marked as cut; of an event with very many values only the usual ones."""
    event["time"] = event["time"].isoformat()[:-6] + "Z"
    for most in _SHORTER:
        line = orjson.dumps({_cut_text(str(name), most): _cut(value, most) for name, value in event.items()})
        if len(line) < MOST_BYTES:
            return line
    return orjson.dumps({name: _cut(event[name], _SHORTER[-1]) for name in _ALWAYS if name in event})


def _cut(value: object, most: int) -> object:
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    if isinstance(value, list | tuple):
        return [_cut_text(_text(item), most) for item in value[:_MOST_ITEMS]]
    return _cut_text(_text(value), most)


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # noqa: BLE001 -- whatever a value does, the line is written
        return type(value).__name__


def _cut_text(text: str, most: int) -> str:
    """Keep both ends: that of a stack trace tells what was raised."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    return text.encode("utf-8", "backslashreplace").decode()
