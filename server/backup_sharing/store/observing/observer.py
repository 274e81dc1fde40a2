"""Measurements that a store reports to an observer, and its state, which can be read at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class StoreObserver(Protocol):
    """Receives measurements, from any thread. Its methods must return at once and raise nothing."""

    def taken(self, waited: Iterable[float]) -> None:
        """A batch of changes was taken from the queue; seconds that each new one of them had waited."""
        ...

    def batch_ended(self, changes: int, decision: float, commit: float | None) -> None:
        """A batch ended, whatever its outcome.

        ``changes``: number of changes in the batch.
        ``decision``: seconds of all work besides the commit: waiting for locks, reads, decisions, retries.
        ``commit``: seconds of its commits; None: it had nothing to commit.
        """
        ...

    def round_trip(self, connection: str, seconds: float) -> None:
        """A request to PostgreSQL was answered, or failed; ``connection``: ``read`` or ``write``."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteReadings:
    """State of a SQLite engine."""

    wal_bytes: int
    """Bytes of the write-ahead log in use, when the checkpointer last looked."""
    checkpoints: Mapping[str, int]
    """Number of checkpoints by outcome: ``complete``, ``partial`` or ``failed``."""
    checkpoint_seconds: float
    """Seconds of all checkpoints together."""


@dataclass(frozen=True, slots=True)
class PostgresReadings:
    """State of a PostgreSQL engine: of the pool of its connections for reads, and of those for changes."""

    idle: int
    used: int
    most: int
    """Maximum number of connections of the pool."""
    waiting: int
    """Reads that wait for a connection."""
    opened: int
    """Connections that the pool opened so far."""
    failed: int
    """Attempts of the pool to open a connection that failed."""
    writers_in_doubt: int
    """Connections for changes that have to find out for long what became of a commit."""


EngineReadings = SqliteReadings | PostgresReadings | None
"""None: the database is not open."""


@dataclass(frozen=True, slots=True)
class StoreReadings:
    """State of a store."""

    waiting: int
    """Changes in the queue."""
    aside: int
    """Changes that wait for a retry, because others have locked their backups."""
    engine: EngineReadings
