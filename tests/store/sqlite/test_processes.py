"""Several processes on one file, and killed processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import SharingFilter, Store
from tests.store import sqlite_process
from tests.store.commands import backup, cause, page
from tests.store.opened import open_sqlite

pytestmark = [pytest.mark.asyncio, pytest.mark.resilience]


async def start(path: Path, prefix: str, count: int) -> Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = (sqlite_process.__file__, str(path), prefix, str(count))
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE, stderr=PIPE, env=environment)


def stored(path: Path) -> list[str]:
    """Return the ids of all sharings; assert that their events and keys are stored too."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sharings = [each for (each,) in connection.execute("SELECT id FROM sharings ORDER BY id")]
        events = [each for (each,) in connection.execute("SELECT sharing_id FROM sharing_events ORDER BY sharing_id")]
        keys = {key for (key,) in connection.execute("SELECT key FROM idempotency_keys")}
    assert [each for each in events if each is not None] == sharings
    assert keys == {each.rpartition("-")[0] for each in sharings}
    return sharings


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "sharings.db"
    store = await open_sqlite(path)
    await store.put_backup(PutBackup(backup("backup", project_id="giver"), cause()))
    await store.close()
    return path


@pytest.mark.parametrize("prefixes", [("one", "two"), ("one", "two", "three", "four")])
async def test_processes_that_write_to_one_file_lose_and_fail_no_share(path: Path, prefixes: tuple[str, ...]) -> None:
    processes = [await start(path, prefix, 200) for prefix in prefixes]
    results = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(prefixes), results
    acknowledged = [each for output, _ in results for each in output.decode().split()]
    assert len(acknowledged) == len(prefixes) * 200 * sqlite_process.RECIPIENTS
    assert sorted(acknowledged) == sorted(stored(path))


async def test_processes_that_make_a_new_database_at_once_all_open_it(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    processes = [await start(path, str(number), 0) for number in range(4)]
    results = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results


async def test_stores_that_make_a_new_database_at_once_all_open_it(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(open_sqlite(tmp_path / "new.db", busy_timeout=60.0) for _ in range(8)))
    await asyncio.gather(*(store.ping() for store in stores))
    for store in stores:
        await store.close()


async def all_ids(store: Store) -> set[str]:
    """Return the ids of all sharings, page by page."""
    found: set[str] = set()
    while True:
        listed = await store.list_sharings(page(SharingFilter("giver"), offset=len(found)))
        found.update(detail.sharing.id for detail in listed.items)
        if not listed.more:
            return found


@pytest.mark.parametrize("acknowledgements", [1, 40, 90, 2000])
async def test_after_a_kill_all_acknowledged_shares_are_there_whole(path: Path, acknowledgements: int) -> None:
    process = await start(path, "killed", 1_000_000)
    assert process.stdout is not None
    acknowledged = [await process.stdout.readline() for _ in range(acknowledgements)]
    process.kill()
    rest, errors = await process.communicate()
    assert not errors
    # The kill may have cut the last line.
    acknowledged += rest.splitlines(keepends=True)
    ids = {each for line in acknowledged if line.endswith(b"\n") for each in line.decode().split()}

    store = await open_sqlite(path)
    there = await all_ids(store)
    await store.close()
    assert len(ids) >= acknowledgements * sqlite_process.RECIPIENTS
    assert ids <= there
    shares = Counter(each.rpartition("-")[0] for each in there)
    assert set(shares.values()) == {sqlite_process.RECIPIENTS}
