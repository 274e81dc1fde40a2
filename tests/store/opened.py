"""Stores that tests open on an engine of their own, and access to their parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.engine import system_clock
from backup_sharing.store.interface import Store
from backup_sharing.store.postgres.engine import PostgresEngine
from backup_sharing.store.postgres.pooling import PreparedStatements
from backup_sharing.store.postgres.writer import Writer
from backup_sharing.store.sqlite.checkpointer import LogBounds
from backup_sharing.store.sqlite.engine import Parts, SqliteEngine


async def open_sqlite(
    path: Path | str,
    *,
    max_waiting: int = 10_000,
    max_batch: int = 256,
    commit_delay: float = 0.001,
    busy_timeout: float = 5.0,
    log_bounds: LogBounds | None = None,
    clock: Callable[[], int] = system_clock,
) -> BatchedStore:
    """Open a store on a file."""
    engine = SqliteEngine(path, busy_timeout=busy_timeout, log_bounds=log_bounds, clock=clock)
    return await BatchedStore.open(engine, max_waiting=max_waiting, max_batch=max_batch, commit_delay=commit_delay)


async def open_postgres(
    url: str,
    *,
    max_waiting: int = 10_000,
    patience: float = 5.0,
    read_connections: int = 4,
    write_connections: int = 1,
    prepared: PreparedStatements = "auto",
    clock: Callable[[], int] | None = None,
) -> BatchedStore:
    """Open a store on a database."""
    engine = PostgresEngine(
        url,
        patience=patience,
        read_connections=read_connections,
        write_connections=write_connections,
        prepared=prepared,
        clock=clock,
    )
    return await BatchedStore.open(engine, max_waiting=max_waiting)


def sqlite_engine(store: Store) -> SqliteEngine:
    """Return the engine of a store opened by `open_sqlite`."""
    assert isinstance(store, BatchedStore)
    assert isinstance(store._engine, SqliteEngine)
    return store._engine


def parts(store: Store) -> Parts:
    """Return the writer, readers, checkpointer and probe of a store opened by `open_sqlite`."""
    return sqlite_engine(store).parts


def writers(store: Store) -> list[Writer]:
    """Return the writers of a store opened by `open_postgres`."""
    assert isinstance(store, BatchedStore)
    assert isinstance(store._engine, PostgresEngine)
    return store._engine._writers
