"""Metrics of the store, on both engines: batches, commits, round trips and the state of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from backup_sharing.errors import AlreadyShared, Unavailable
from backup_sharing.metrics.calls import CallMetrics
from backup_sharing.metrics.store import StoreMetrics
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.opening import open_store
from programkit.metrics import Readings
from tests.store.commands import backup, backup_id, cause, given, share
from tests.store.opened import parts

STAGE = "backup_sharing_stage_duration_seconds_count"


class Measured:
    """A store, and what is measured of it."""

    def __init__(self, registry: CollectorRegistry, store: BatchedStore) -> None:
        self._registry = registry
        self.store = store

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)

    def stages(self) -> dict[str, float | None]:
        return {stage: self.value(STAGE, stage=stage) for stage in ("commit_wait", "decision", "commit")}


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def measured(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Measured]:
    registry, engine = CollectorRegistry(), request.param
    database = str(tmp_path / "sharings.db") if engine == "sqlite" else request.getfixturevalue("database_url")
    readings = Readings(registry)
    metrics = StoreMetrics(readings, CallMetrics(readings, {}, (), ()), engine)
    async with AsyncExitStack() as cleanups:
        store = await open_store(database, observer=metrics)
        cleanups.push_async_callback(store.close)
        metrics.read(store)
        yield Measured(registry, store)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks and threads run until a condition holds: the observer is told after the callers."""
    while not condition():  # noqa: ASYNC110 -- no event to wait for
        await asyncio.sleep(0.001)


async def put(measured: Measured, *numbers: int) -> None:
    puts = (measured.store.put_backup(PutBackup(backup(backup_id(number)), cause())) for number in numbers)
    await asyncio.gather(*puts)


async def test_every_batch_is_measured_with_its_changes(measured: Measured) -> None:
    await put(measured, 1)
    await put(measured, 2, 3, 4)
    await until(lambda: measured.value("backup_sharing_batch_changes_sum") == 4)
    assert measured.stages()["commit_wait"] == 4
    batches = measured.value("backup_sharing_batch_changes_count")
    assert measured.stages()["commit"] == measured.stages()["decision"] == batches
    assert batches == 2


async def test_a_batch_of_refusals_has_no_commit(measured: Measured) -> None:
    await put(measured, 1)
    await measured.store.share(share(backup_id=backup_id(1)))
    await until(lambda: measured.value("backup_sharing_batch_changes_count") == 2)
    with pytest.raises(AlreadyShared):
        await measured.store.share(share(backup_id=backup_id(1)))
    await until(lambda: measured.value("backup_sharing_batch_changes_count") == 3)
    stages = measured.stages()
    assert (stages["commit_wait"], stages["decision"]) == (3, 3)
    if measured.value("backup_sharing_postgres_pool_max_connections") is None:
        assert stages["commit"] == 2


async def test_nothing_waits_in_an_idle_store(measured: Measured) -> None:
    await put(measured, 1)
    assert measured.value("backup_sharing_changes_waiting") == 0
    assert measured.value("backup_sharing_changes_set_aside") == 0
    assert measured.value("backup_sharing_store_failed") == 0


async def test_each_engine_has_only_its_own_families(measured: Measured) -> None:
    await measured.store.count_sharings(given())
    is_sqlite = measured.value("backup_sharing_sqlite_wal_bytes") is not None
    pool = measured.value("backup_sharing_postgres_pool_max_connections")
    reads = measured.value("backup_sharing_postgres_round_trip_seconds_count", connection="read")
    assert (is_sqlite, pool, reads) in ((True, None, None), (False, 4, 1))


async def test_round_trips_of_changes_are_timed(measured: Measured) -> None:
    await put(measured, 1)
    name = "backup_sharing_postgres_round_trip_seconds_count"
    await until(lambda: measured.value("backup_sharing_batch_changes_count") == 1)
    assert measured.value(name, connection="write") in (None, 2)  # SQLite has none; it reads, then it writes


async def test_the_pool_shows_its_connections(measured: Measured) -> None:
    await measured.store.count_sharings(given())
    state = "backup_sharing_postgres_pool_connections"
    if measured.value("backup_sharing_postgres_pool_waiting") is None:
        assert measured.value(state, state="idle") is None
        return
    await until(lambda: measured.value(state, state="used") == 0)
    assert (measured.value(state, state="idle") or 0) >= 1
    assert (measured.value("backup_sharing_postgres_pool_connections_opened_total") or 0) >= 1
    assert measured.value("backup_sharing_postgres_pool_connection_errors_total") == 0
    assert measured.value("backup_sharing_postgres_writers_in_doubt") == 0


async def test_waiting_changes_are_those_no_batch_has_taken(measured: Measured) -> None:
    seen: list[float | None] = []
    queue = measured.store._queue
    take = queue._batch

    def batch() -> object:
        seen.append(measured.value("backup_sharing_changes_waiting"))
        return take()

    queue._batch = batch  # type: ignore[method-assign,assignment]  # looks before the batch is taken
    await put(measured, 1)
    assert seen[0] == 1


async def test_checkpoints_are_counted_by_outcome(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    readings = Readings(registry)
    metrics = StoreMetrics(readings, CallMetrics(readings, {}, (), ()), "sqlite")
    store = await open_store(str(tmp_path / "sharings.db"), observer=metrics)
    measured = Measured(registry, store)
    metrics.read(store)
    try:
        await put(measured, 1)
        checkpointer = parts(store).checkpointer
        assert await asyncio.to_thread(checkpointer._copy, 1.0)
        name = "backup_sharing_sqlite_checkpoints_total"
        counts = {one: measured.value(name, outcome=one) for one in ("complete", "partial", "failed")}
        assert counts == {"complete": 1, "partial": 0, "failed": 0}
        assert (measured.value("backup_sharing_sqlite_checkpoint_seconds_total") or 0) > 0
        await asyncio.to_thread(checkpointer._look)
        assert (measured.value("backup_sharing_sqlite_wal_bytes") or 0) > 0
    finally:
        await store.close()


async def test_a_store_that_is_not_open_has_no_engine_metrics(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    readings = Readings(registry)
    metrics = StoreMetrics(readings, CallMetrics(readings, {}, (), ()), "sqlite")
    store = await open_store(str(tmp_path / "sharings.db"), observer=metrics)
    metrics.read(store)
    engine = store._engine
    await store.close()
    engine._parts = None  # type: ignore[attr-defined]  # as before the file could be opened
    with pytest.raises(Unavailable):
        await store.ping()
    assert registry.get_sample_value("backup_sharing_sqlite_wal_bytes") is None
    assert registry.get_sample_value("backup_sharing_changes_waiting") == 0
