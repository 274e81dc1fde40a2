"""The server's log: the maximum length of a line, and filters for records of libraries."""

from __future__ import annotations

import logging

from programkit import logs

MOST_BYTES = 8192
"""Maximum bytes of a log line; longer values are cut."""


def configure(level: str) -> logs.Lines:
    """Set up logging for the process; return the writer. ``level`` is a level name of `logging` in lower case."""
    return logs.configure(
        level,
        most_bytes=MOST_BYTES,
        own="backup_sharing",
        filters={"grpc._cython.cygrpc": _is_no_departure},
        # The store logs the outcome of anything psycopg warns about, and an expected failure of a transaction is no
        # reason for a warning.
        levels={"psycopg": logging.ERROR},
    )


def _is_no_departure(record: logging.LogRecord) -> bool:
    """Return False if gRPC only reports, as an error, that a client disconnected while its call ended."""
    raised = record.exc_info[0] if record.exc_info else None
    return raised is None or raised.__name__ not in ("ExecuteBatchError", "CancelledError")
