"""`backup_sharing.store.breakdown`: a store stops after a fault that makes it unreliable."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.breakdown import Breakdown
from backup_sharing.store.sqlite.log import log_path
from tests.store.commands import backup, cause, given, share
from tests.store.opened import open_sqlite, parts, sqlite_engine

pytestmark = pytest.mark.asyncio


async def test_it_happens_once_and_stops_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    breakdown, stopped = Breakdown(), list[str]()
    breakdown.stops(lambda: stopped.append("writer"), lambda: stopped.append("reader"))
    breakdown.check()
    for _ in range(2):
        await asyncio.to_thread(breakdown.report, OSError("the disk"))
    assert stopped == ["writer", "reader"]
    await asyncio.wait_for(breakdown.happened.wait(), 60)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    with pytest.raises(Unavailable, match="started again"):
        breakdown.check()


async def test_failed_must_be_set_when_no_call_is_taken_any_more(tmp_path: Path) -> None:
    path = tmp_path / "sharings.db"
    store = await open_sqlite(path)
    await store.put_backup(PutBackup(backup(), cause()))
    before = path.read_bytes(), log_path(path).read_bytes()
    error = sqlite3.OperationalError("disk I/O error")
    sqlite_engine(store)._breakdown.report(error)
    assert not store.failed.is_set()
    for call in (store.ping(), store.count_sharings(given()), store.share(share())):
        with pytest.raises(Unavailable):
            await call
    await store.close()
    await asyncio.wait_for(store.failed.wait(), 60)
    assert (path.read_bytes(), log_path(path).read_bytes()) == before
    parts(store).probe._connection.close()
    for connection in (
        parts(store).writer._connection,
        parts(store).checkpointer._guard,
        parts(store).checkpointer._connection,
    ):
        connection.close()
    for connection in parts(store).readers._idle:
        connection.close()
