"""The write-ahead log stays small beside a busy writer, and never fails a change."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from backup_sharing.store.sqlite import checkpointer as sqlite_checkpointer
from backup_sharing.store.sqlite import connection as sqlite_connection
from backup_sharing.store.sqlite import engine as sqlite
from backup_sharing.store.sqlite.checkpointer import Checkpointer, LogBounds
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.log import LogUse, log_path, log_use
from tests.store.commands import backup, cause, given, project_id, share
from tests.store.opened import open_sqlite, parts
from tests.support.programs import PATIENCE

pytestmark = pytest.mark.asyncio

KIB = 1024
BOUNDS = LogBounds(copy_from=64 * KIB, finish_from=256 * KIB, force_from=1024 * KIB)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpointer, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(sqlite_checkpointer, "STUCK_FOR", 0.01)
    monkeypatch.setattr(sqlite_checkpointer, "FORCE_EVERY", 0.05)
    monkeypatch.setattr(sqlite_checkpointer, "FORCE_WAIT", 0.01)
    monkeypatch.setattr(sqlite_connection, "LOG_KEPT", 512 * KIB)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sharings.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(path, log_bounds=BOUNDS)
    await store.put_backup(PutBackup(backup(), cause()))
    yield store
    await store.close()


async def share_with(store: Store, count: int, first: int = 0) -> None:
    for number in range(first, first + count, 10):
        await asyncio.gather(*(store.share(share(project_id(each))) for each in range(number, number + 10)))


@contextmanager
def long_read(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sharings").fetchone()
        yield


async def test_the_log_stays_small_under_writes_without_a_pause(store: Store, path: Path) -> None:
    shared = 0
    async with asyncio.timeout(60):
        for _ in range(20):
            await share_with(store, 100, shared)
            shared += 100
            # The size above the bound depends on when the thread wakes up; without a checkpoint the log only grows.
            while log_use(log_path(path)).size > BOUNDS.force_from:
                await share_with(store, 10, shared)
                shared += 10
    assert await store.count_sharings(given()) == shared


async def test_a_long_read_makes_the_log_grow_and_fails_nothing(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with long_read(path):
        await share_with(store, 1500)
        assert log_use(log_path(path)).size > BOUNDS.force_from
    assert any("is held back" in record.message for record in caplog.records)
    assert all(record.levelno == logging.WARNING for record in caplog.records)

    async def begun_again() -> None:
        number = 10_000
        while log_path(path).stat().st_size > 512 * KIB:
            await share_with(store, 10, number)
            number += 10

    await asyncio.wait_for(begun_again(), PATIENCE)


class FailingCheckpoint(sqlite3.Connection):
    """A connection to a disk that is full at a checkpoint."""

    failing = True
    attempts = 0

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401 -- as in the base class
        if "wal_checkpoint(PASSIVE)" in sql and FailingCheckpoint.failing:
            FailingCheckpoint.attempts += 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().execute(sql, parameters)


@pytest.mark.resilience
async def test_a_failing_checkpoint_fails_no_change_and_is_logged_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def connect_failing(path: Path, **named: Any) -> sqlite3.Connection:  # noqa: ANN401 -- passed through
        connect(path, **named).close()
        return sqlite3.connect(path, factory=FailingCheckpoint, isolation_level=None, check_same_thread=False)

    monkeypatch.setattr(sqlite, "connect", connect_failing)
    store = await open_sqlite(path, log_bounds=LogBounds(copy_from=64 * KIB))
    await store.put_backup(PutBackup(backup(), cause()))
    await share_with(store, 500)
    assert await store.count_sharings(given()) == 500
    assert [record.message for record in caplog.records if "checkpoint failed" in record.message] == [
        record.message for record in caplog.records
    ]
    assert len(caplog.records) == 1
    attempts = FailingCheckpoint.attempts
    await eventually(lambda: FailingCheckpoint.attempts > attempts + 3)  # although nothing more is written
    monkeypatch.setattr(FailingCheckpoint, "failing", False)
    await eventually(lambda: copied(path))
    await store.close()


def copied(path: Path) -> bool:
    """Return whether the database file contains the sharings without its log."""
    return path.stat().st_size > 64 * KIB


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 -- another thread changes it, without an event
            await asyncio.sleep(0.01)


async def test_close_leaves_no_log_and_no_thread(path: Path) -> None:
    before = set(threading.enumerate())
    store = await open_sqlite(path, log_bounds=BOUNDS)
    await store.put_backup(PutBackup(backup(), cause()))
    await share_with(store, 300)
    await store.close()
    assert os.listdir(path.parent) == [path.name]
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if thread.name.startswith("sqlite")]


async def test_nothing_is_looked_at_while_nothing_is_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []

    def look(log: Path) -> LogUse:
        looks.append(log)
        return log_use(log)

    at_work = parts(store)
    await eventually(lambda: at_work.writer.is_idle and waits(at_work.checkpointer._written))
    monkeypatch.setattr(sqlite_checkpointer, "log_use", look)
    await asyncio.sleep(0.1)
    assert not looks
    await share_with(store, 10)
    await eventually(lambda: bool(looks))


def waits(event: threading.Event) -> bool:
    """Return whether a thread waits for the event."""
    return bool(event._cond._waiters)  # type: ignore[attr-defined]  # private


@pytest.mark.resilience
async def test_a_checkpoint_without_an_end_is_left_behind_at_close(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_checkpointer, "_CLOSE_WITHIN", 0.05)
    release = threading.Event()

    def hang(_: Path) -> None:
        release.wait(4 * PATIENCE)

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (n)")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_checkpointer, "log_use", hang)
        connections = (connect(path, busy_timeout=0), connect(path, busy_timeout=0))
        checkpointer = Checkpointer(*connections, path, lambda _: None)
        with closing(connect(path, busy_timeout=0)) as connection:
            checkpointer.after_batch(connection)
            await asyncio.sleep(0.05)
            began = time.monotonic()
            checkpointer.close()
            assert time.monotonic() - began < PATIENCE
        release.set()
        await eventually(lambda: "sqlite-checkpointer" not in {thread.name for thread in threading.enumerate()})
    assert "does not end" in caplog.text
    checkpointer.close()
