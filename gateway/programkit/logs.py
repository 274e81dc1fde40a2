"""Logging for the program and its libraries: one JSON object per line of bounded size, on standard error."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

import structlog
from structlog.typing import EventDict

from programkit.log_line import Render, described, renderer, text_of

Complaints = Callable[[asyncio.AbstractEventLoop, Mapping[str, Any]], None]
"""An exception handler of an event loop."""

Filters = Mapping[str, Callable[[logging.LogRecord], bool]]
"""Predicates by the name of a library's logger: whether to write a record."""


class Lines:
    """Writes lines to a file, batched per iteration of the event loop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: deque[bytes] = deque()
        self._is_due = False

    def msg(self, line: bytes) -> None:
        """Queue a line for the end of this event loop iteration; without an event loop, write it at once."""
        self._waiting.append(line)
        if not self._is_due:
            self._is_due = True
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    debug = info = warning = error = msg

    def flush(self) -> None:
        """Write the queued lines."""
        self._is_due = False  # before the write, so that a line queued by another thread schedules a new flush
        lines: list[bytes] = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        if lines and not self._file.closed:
            self._file.write(b"\n".join([*lines, b""]))
            self._file.flush()


class LibraryLines(logging.Handler):
    """Writes records of the standard library's `logging`.

    For a library only the message template and the logger's name are written, never the arguments: an argument may
    hold client data (aiohttp quotes the line that it cannot parse, asyncio the exception of a task). The program's own
    packages put no client data into such records, so their records are complete, with the texts of exceptions.
    """

    def __init__(self, lines: Lines, render: Render, own: str) -> None:
        """Write to ``lines``; ``own`` is the program's package, whose loggers have the names of its modules."""
        super().__init__()
        self._lines = lines
        self._render = render
        self._own = own

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            event = self._whole(record) if self._is_own(record.name) else _fixed(record)
            self._lines.msg(self._render(None, record.levelname.lower(), event))
        except Exception:  # noqa: BLE001 -- like all handlers of the standard library
            self.handleError(record)

    def _is_own(self, name: str) -> bool:
        return bool(self._own) and (name == self._own or name.startswith(f"{self._own}."))

    def _whole(self, record: logging.LogRecord) -> EventDict:
        event: EventDict = {"event": record.getMessage()}
        if (raised := _raised(record)) is not None:
            event["exception"] = described(raised, with_texts=True)
        return event


def _fixed(record: logging.LogRecord) -> EventDict:
    text = record.msg.partition("\n")[0] if isinstance(record.msg, str) else type(record.msg).__name__
    event: EventDict = {"event": text, "logger": record.name}
    if (raised := _raised(record)) is not None:
        event["exception"] = described(raised)
    return event


def _raised(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _direct(least: int, render: Render) -> type[structlog.typing.FilteringBoundLogger]:
    """Return structlog's logger class with a faster ``info``, which skips processors and context.

    Every call logs one line with ``info``.
    """
    filtering: Any = structlog.make_filtering_bound_logger(least)
    if least > logging.INFO:
        # A class of its own, because `change_level` changes it.
        return cast("type[structlog.typing.FilteringBoundLogger]", type("Filtered", (filtering,), {}))

    class Direct(filtering):  # type: ignore[misc] # the base class is created at run time
        def info(self, event: str, **values: object) -> None:
            values["event"] = event
            self._logger.msg(render(None, "info", values))

    return cast("type[structlog.typing.FilteringBoundLogger]", Direct)


def configure(
    level: str,
    *,
    most_bytes: int,
    own: str = "",
    filters: Filters | None = None,
    levels: Mapping[str, int] | None = None,
) -> Lines:
    """Set up logging for the process; return the writer of the lines.

    Args:
        level: lowest level to write, a level name of `logging` in lower case; for libraries at least ``warning``.
        most_bytes: maximum bytes of a line.
        own: the program's package; its records through the standard library are written complete.
        filters: predicates for the records of some libraries; records of other libraries are not filtered.
        levels: lowest level to write for some libraries.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    lines, render = Lines(sys.stderr.buffer), renderer(most_bytes)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[render],
        wrapper_class=_direct(least, render),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[LibraryLines(lines, render, own)], level=max(least, logging.WARNING))
    for name, is_written in (filters or {}).items():
        logging.getLogger(name).addFilter(is_written)
    for name, lowest in (levels or {}).items():
        logging.getLogger(name).setLevel(lowest)
    return lines


def change_level(level: str) -> None:
    """Change the lowest level that this process writes, after `configure`; for libraries at least ``warning``."""
    least, configured = logging.getLevelNamesMapping()[level.upper()], structlog.get_config()
    used, wanted = configured["wrapper_class"], _direct(least, configured["processors"][0])
    # Loggers that exist are instances of the class in use: they get the methods of the wanted class.
    for name in dir(wanted):
        if not name.startswith("_"):
            setattr(used, name, getattr(wanted, name))
    logging.getLogger().setLevel(max(least, logging.WARNING))


def complaints_of(name: str) -> Complaints:
    """Return an exception handler that logs as ``name``; asyncio's default handler would log client data."""

    def complain(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        exception = context.get("exception")
        found = described(exception) if isinstance(exception, BaseException) else None
        text = text_of(context.get("message", "")).partition("\n")[0]
        structlog.get_logger(name).error("event loop", message=text, exception=found)

    return complain
