"""The server's log: how long a line may be, and which records of libraries say nothing."""

from __future__ import annotations

import logging

from programkit import logs

MOST_BYTES = 8192
"""Of a line, whatever its event holds."""


def configure(level: str) -> logs.Lines:
    """Set up logging for the process, and answer what is written; ``level`` is a name of `logging`, in lower case."""
    return logs.configure(
        level,
        most_bytes=MOST_BYTES,
        own="backup_sharing",
        filters={"grpc._cython.cygrpc": _is_no_departure},
        # Of what it warns the store tells the outcome; a transaction that fails as it should is no warning at all.
        levels={"psycopg": logging.ERROR},
    )


def _is_no_departure(record: logging.LogRecord) -> bool:
    """Whether gRPC says more than that a client went away just as its call ended: it takes that for an error."""
    raised = record.exc_info[0] if record.exc_info else None
    return raised is None or raised.__name__ not in ("ExecuteBatchError", "CancelledError")
