"""Metrics of the store: batches, commits, round trips, and what can be read from its engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from backup_sharing.metrics import families
from backup_sharing.metrics.calls import CallMetrics
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.observing.observer import PostgresReadings, SqliteReadings
from programkit.metrics import Family, Readings, Tally, Value

Engine: TypeAlias = Literal["sqlite", "postgresql"]

_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class StoreMetrics:
    """A `backup_sharing.store.observing.observer.StoreObserver`."""

    def __init__(self, readings: Readings, calls: CallMetrics, engine: Engine) -> None:
        """Register the families of a store; those of the other engine are left out."""
        self._readings = readings
        self._calls = calls
        self._engine = engine
        self._batch = Tally(_BATCH_SIZES)
        self._trips = {name: Tally() for name in ("read", "write")}
        readings.add_histogram(families.BATCH, lambda: {(): self._batch})
        if engine == "postgresql":
            readings.add_histogram(families.ROUND_TRIP, lambda: {(name,): tally for name, tally in self._trips.items()})

    def taken(self, waited: Iterable[float]) -> None:
        for seconds in waited:
            self._calls.commit_wait.observe(seconds)

    def batch_ended(self, changes: int, decision: float, commit: float | None) -> None:
        self._batch.observe(changes)
        self._calls.decision.observe(decision)
        if commit is not None:
            self._calls.commit.observe(commit)

    def round_trip(self, connection: str, seconds: float) -> None:
        self._trips[connection].observe(seconds)

    def read(self, store: BatchedStore) -> None:
        """Read the state of a store at each scrape."""
        readings = self._readings
        readings.add(families.CHANGES_WAITING, lambda: store.readings().waiting)
        readings.add(families.CHANGES_ASIDE, lambda: store.readings().aside)
        readings.add(families.STORE_FAILED, lambda: float(store.failed.is_set()))
        if self._engine == "sqlite":
            _read_sqlite(readings, store)
        else:
            _read_postgres(readings, store)


def _read_sqlite(readings: Readings, store: BatchedStore) -> None:
    def add(family: Family, read: Callable[[SqliteReadings], Value]) -> None:
        def value() -> Value:
            engine = store.readings().engine
            return read(engine) if isinstance(engine, SqliteReadings) else None

        readings.add(family, value)

    add(families.WAL, lambda engine: engine.wal_bytes)
    add(families.CHECKPOINTS, lambda engine: {(outcome,): count for outcome, count in engine.checkpoints.items()})
    add(families.CHECKPOINT_TIME, lambda engine: engine.checkpoint_seconds)


def _read_postgres(readings: Readings, store: BatchedStore) -> None:
    def add(family: Family, read: Callable[[PostgresReadings], Value]) -> None:
        def value() -> Value:
            engine = store.readings().engine
            return read(engine) if isinstance(engine, PostgresReadings) else None

        readings.add(family, value)

    add(families.POOL, lambda engine: {("idle",): engine.idle, ("used",): engine.used})
    add(families.POOL_MOST, lambda engine: engine.most)
    add(families.POOL_WAITING, lambda engine: engine.waiting)
    add(families.POOL_OPENED, lambda engine: engine.opened)
    add(families.POOL_FAILED, lambda engine: engine.failed)
    add(families.IN_DOUBT, lambda engine: engine.writers_in_doubt)
