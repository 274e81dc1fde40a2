"""One JSON object a line on standard error, whoever logs it.

The server has the same lines: the two are programs of their own and share no code.
"""

from __future__ import annotations

import logging
import sys

import orjson
import structlog

_SHARED = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
)


def configure(level: str) -> None:
    """Set up logging for the process; ``level`` is a name of `logging`, in lower case."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
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
