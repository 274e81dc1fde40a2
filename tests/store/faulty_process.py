"""A process whose disk fails: ``python faulty_process.py COMMANDS FOLDER SCENE FAULT``, with FAULT as a literal.

Plays a scene again and again, each time in a process of its own on a database of its own, with the fault one call
further, until there is no such call any more. Each time that process is killed in the end, and the database opened
anew. Writes one line of JSON for each time: what callers were told, and what is stored.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from server.errors import Failure
from server.store.interface import Store
from server.store.opening import open_store
from server.store.sqlite import SqliteStore
from server.store.sqlite_checkpointer import LogBounds
from tests.store.commands import backup, backup_id, cause, given, project_id, share
from tests.store.faulty_disk import Fault, FaultyDisk, How, Kind

FILE: Final = "sharings.db"
MOST: Final = 400
"""Times that a scene is played at most: none makes as many calls."""


class Told:
    """What the callers of one process were told, kept in a file that outlives it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    async def share(self, store: Store, number: int, recipients: int = 2) -> str:
        """Share with some projects; answers what was told."""
        to = [project_id(100 * number + each) for each in range(recipients)]
        ids = [f"{number}-{each}" for each in range(recipients)]
        try:
            await store.share(share(*to, sharing_ids=ids))
        except Failure as failure:
            word = failure.reason
        else:
            word = "STORED"
        self.say(f"{number} {word}")
        return word

    def say(self, line: str) -> None:
        self._file.write(f"{line}\n")


Scene = Callable[[Path, FaultyDisk, Callable[[], None], Told], Awaitable[None]]


async def _open(path: Path, spill: bool = False) -> SqliteStore:
    store = await SqliteStore.open(path, commit_delay=0, log_bounds=LogBounds(2**30, 2**31, 2**31))
    if spill:
        store._writer._connection.execute("PRAGMA cache_size = 4")
    return store


async def commit(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told, spill: bool = False) -> None:
    """Two shares in one commit, whose frames go behind others."""
    store = await _open(path, spill)
    await told.share(store, 1)
    await _commit(store, disk, break_, told)


async def first_commit(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    """The first commit in a log that begins again."""
    store = await _open(path)
    await told.share(store, 1)
    store._checkpointer._stand_still(store._writer._connection, 1)
    await _commit(store, disk, break_, told)


async def large_commit(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    """A commit whose first frames are written before it is one."""
    await commit(path, disk, break_, told, spill=True)


async def _commit(store: SqliteStore, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    break_()
    words = await asyncio.gather(told.share(store, 2), told.share(store, 3))
    if "OUTCOME_UNKNOWN" in words:
        await store.failed.wait()
    if not store.failed.is_set():
        told.say(f"count {await store.count_sharings(given())}")
    disk.mend()
    if store.failed.is_set():
        told.say("failed")
        told.say(f"after {await told.share(store, 8)}")
        await store.close()
    else:
        await told.share(store, 9)


async def checkpoint(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    """A checkpoint of what was committed, and the commit after it."""
    store = await _open(path)
    await told.share(store, 1)
    await told.share(store, 2)
    break_()
    store._checkpointer._attempt(lambda: store._checkpointer._stand_still(store._writer._connection, 0.1))
    await asyncio.sleep(0)
    told.say(f"failed {store.failed.is_set()}")
    await told.share(store, 3)
    disk.mend()
    await told.share(store, 9)


async def start(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    """A start after an unclean end, tried again when it failed."""
    store = await _open(path)
    await told.share(store, 1)
    if (pid := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


async def close(path: Path, disk: FaultyDisk, break_: Callable[[], None], told: Told) -> None:
    """A store that is closed with something in its log."""
    store = await _open(path)
    await told.share(store, 1)
    break_()
    await store.close()
    await asyncio.sleep(0)
    told.say(f"failed {store.failed.is_set()}")


SCENES: Final[dict[str, Scene]] = {
    each.__name__: each for each in (commit, first_commit, large_commit, checkpoint, start, close)
}


async def _make(path: Path) -> None:
    store = await open_store(str(path))
    await store.put_backup(backup(backup_id(1), description="x" * 3000), cause())
    await store.close()


def _play(scene: Scene, path: Path, disk: FaultyDisk, fault: Fault, skip: int) -> None:
    """In a process of its own, which is killed in the end."""
    if (pid := os.fork()) == 0:
        try:
            told = Told(path.with_name("told"))
            asyncio.run(_killed(scene(path, disk, lambda: disk.break_(fault, skip), told)))
        except BaseException as error:
            Told(path.with_name("told")).say(f"defect {error!r}")
            raise
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


async def _killed(scene: Awaitable[None]) -> None:
    await scene
    os.kill(os.getpid(), signal.SIGKILL)


def _stored(path: Path) -> dict[str, object]:
    """What a fresh process finds."""

    async def settled() -> None:
        await (await open_store(str(path))).close()

    asyncio.run(settled())
    with closing(sqlite3.connect(path)) as connection:
        sharings = [each for (each,) in connection.execute("SELECT id FROM sharings ORDER BY id")]
        events = [each for (each,) in connection.execute("SELECT sharing_id FROM sharing_events WHERE kind = 'shared'")]
        check = [each for (each,) in connection.execute("PRAGMA integrity_check")]
    return {"sharings": sharings, "whole": sorted(events) == sharings and check == ["ok"]}


def main(commands: str, folder: str, scene: str, fault: str) -> None:
    disk = FaultyDisk(Path(commands))
    template = Path(folder) / "template" / FILE
    template.parent.mkdir()
    asyncio.run(_make(template))
    for skip in range(MOST):
        path = Path(folder) / str(skip) / FILE
        path.parent.mkdir()
        shutil.copy(template, path)
        _play(SCENES[scene], path, disk, eval(fault), skip)  # noqa: S307 -- the test's own
        disk.mend()
        failed, seen = disk.failed, disk.seen
        told = path.with_name("told").read_text().splitlines()
        print(json.dumps({"skip": skip, "failed": failed, "seen": seen, "told": told, **_stored(path)}), flush=True)
        shutil.rmtree(path.parent)
        if not failed:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
