"""One JSON object a line on standard error, whoever logs it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import EventDict

_SHARED = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
)


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


def configure(level: str) -> Lines:
    """Set up logging for the process, and answer what is written; ``level`` is a name of `logging`, in lower case."""
    least = logging.getLevelNamesMapping()[level.upper()]
    lines = Lines(sys.stderr.buffer)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[_line],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    # What libraries and the rooms below say through the standard library looks the same.
    handler = logging.StreamHandler(sys.stderr)
    renderer = structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event).decode())
    removed = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[removed, renderer], foreign_pre_chain=[*_SHARED])
    )
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING))
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
    event["time"] = datetime.now(UTC).isoformat()[:-6] + "Z"
    return orjson.dumps(event, default=repr)
