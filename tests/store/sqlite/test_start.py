"""Starts after an unclean end, and beside other processes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store import readiness
from backup_sharing.store.interface import Store
from backup_sharing.store.opening import open_store
from backup_sharing.store.sqlite import start as sqlite_start
from backup_sharing.store.sqlite.engine import SqliteEngine
from backup_sharing.store.sqlite.log import HEADER_SIZE, log_path, log_use
from backup_sharing.store.sqlite.start import settle, sync_folder
from backup_sharing.store.unusable import FailingDatabase
from tests.store.commands import backup, cause, given, project_id, share
from tests.store.opened import open_sqlite, sqlite_engine

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """Return a database as a process left it that was killed after one share."""
    store = await open_sqlite(tmp_path / "living.db")
    await store.put_backup(PutBackup(backup(), cause()))
    await store.share(share())
    left = tmp_path / "left" / "sharings.db"
    left.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{tmp_path / 'living.db'}{suffix}", f"{left}{suffix}")
    await store.close()
    return left


def contents(path: Path) -> tuple[bytes, bytes]:
    return path.read_bytes(), log_path(path).read_bytes()


def failing_sync(file: int) -> None:
    os.close(os.dup(file))
    raise OSError(errno.EIO, "Input/output error")


async def test_a_log_that_cannot_be_synced_is_not_copied(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(left)
    monkeypatch.setattr(sqlite_start.os, "fsync", failing_sync)
    with pytest.raises(FailingDatabase, match="Input/output error") as failed:
        await SqliteEngine(left).look()
    assert contents(left) == before
    assert failed.value.kept is not None
    failed.value.kept.close()


async def test_all_of_the_log_is_written_again_before_it_is_copied(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end, done = HEADER_SIZE + log_use(log_path(left)).size, list[object]()
    write, sync = os.pwrite, os.fsync
    with closing(sqlite3.connect(left, isolation_level=None)) as connection:
        connection.set_trace_callback(lambda sql: done.append(sql.split("(")[0]))

        def written(file: int, block: bytes, place: int) -> int:
            done.append((place, len(block)))
            return write(file, block[:100_000], place)  # a disk may write less

        monkeypatch.setattr(sqlite_start.os, "pwrite", written)
        monkeypatch.setattr(sqlite_start.os, "fsync", lambda file: done.append("sync") or sync(file))
        settle(connection, left)
    pieces = [(place, end - place) for place in range(0, end, 100_000)]
    assert done[: len(pieces) + 4] == ["BEGIN IMMEDIATE", *pieces, "sync", "ROLLBACK", "PRAGMA wal_checkpoint"]


async def test_a_settled_log_is_empty(left: Path) -> None:
    store = await open_sqlite(left)
    assert log_path(left).stat().st_size == 0
    assert await store.count_sharings(given()) == 1
    await store.close()


async def test_a_start_beside_a_busy_store_fails_no_change(left: Path) -> None:
    busy = await open_sqlite(left)
    stopped = False

    async def load(first: int) -> int:
        number = first
        while not stopped:
            await busy.share(share(project_id(number)))
            number += 1
        return number - first

    loads = [asyncio.create_task(load(1000 * each)) for each in range(1, 5)]
    for _ in range(5):
        store = await open_sqlite(left)
        await store.ping()
        await store.close()
    stopped = True
    shared = sum(await asyncio.gather(*loads))
    assert await busy.count_sharings(given()) == 1 + shared
    await busy.close()


async def test_a_folder_that_cannot_be_synced_is_not_ready(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_path(left).unlink()
    monkeypatch.setattr(sqlite_start.os, "fsync", failing_sync)
    with pytest.raises(FailingDatabase, match="folder cannot be synced"):
        await SqliteEngine(left).look()


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EIO])
async def test_a_folder_may_be_of_a_kind_that_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def fail(_: int) -> None:
        raise OSError(error, "no")

    monkeypatch.setattr(sqlite_start.os, "fsync", fail)
    if error == errno.EINVAL:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="no"):
            sync_folder(tmp_path)


@pytest.fixture
async def mend(left: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], None]]:
    """Let the disk fail until the yielded function is called."""
    monkeypatch.setattr(readiness, "TRY_EVERY", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_start.os, "fsync", failing_sync)
        yield broken.undo


async def opened(store: Store) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.ping()
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_store_on_a_failing_disk_opens_when_it_works(left: Path, mend: Callable[[], None]) -> None:
    store = await open_store(str(left))
    for call in (store.ping(), store.count_sharings(given()), store.share(share(project_id(1)))):
        with pytest.raises(Unavailable, match="disk"):
            await call
    mend()
    await opened(store)
    assert await store.count_sharings(given()) == 1
    await store.share(share(project_id(1)))
    assert not store.failed.is_set()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.ping()
    assert os.listdir(left.parent) == [left.name]


async def test_a_store_that_never_opened_is_left_by_the_end(left: Path, mend: Callable[[], None]) -> None:
    store = await open_store(str(left))
    await store.close()
    assert store.failed.is_set()
    kept = sqlite_engine(store)._kept
    assert kept is not None
    kept.close()


async def test_only_the_reason_for_a_failure_is_logged_anew(
    left: Path, mend: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(str(left))
    await asyncio.sleep(0.1)
    mend()
    await opened(store)
    await store.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
