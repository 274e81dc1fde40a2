"""A process whose disk fails: ``python faulty_process.py COMMANDS FOLDER SCENE FAULT...``, each FAULT as JSON.

The program runs a scene repeatedly, each time in a new process on a new database, with the fault one system call
later, until the scene makes no such call. Each run ends with a kill of the process; then the database is reopened.
The output has one line of JSON per run: the outcomes of the callers, and the stored rows.
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

from backup_sharing.errors import Failure
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store import readiness
from backup_sharing.store.interface import Store
from backup_sharing.store.opening import open_store
from backup_sharing.store.sqlite import connection as sqlite_connection
from backup_sharing.store.sqlite.checkpointer import LogBounds
from backup_sharing.store.sqlite.file import prepare
from backup_sharing.store.sqlite.log import log_path, log_use
from tests.store.commands import backup, backup_id, cause, given, project_id, share
from tests.store.faulty_disk import Fault, FaultyDisk
from tests.store.opened import open_sqlite, parts

FILE: Final = "sharings.db"
INDEXED: Final = 4062
"""Number of frames that fit into the first part of the log's index."""
MOST: Final = 400
"""Maximum runs of a scene; no scene makes as many system calls."""


class Outcomes:
    """The outcomes that the callers of one process got, in a file that survives the process."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    async def share(self, store: Store, number: int, recipients: int = 2) -> str:
        """Share with some projects; record and return the outcome."""
        to = [project_id(1000 * number + each) for each in range(recipients)]
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


Scene = Callable[[Path, Callable[[], None], Callable[[], None], Outcomes], Awaitable[None]]
"""The actions in one process, with functions that break and mend the disk."""


async def _open(path: Path) -> Store:
    return await open_sqlite(path, log_bounds=LogBounds(2**30, 2**31, 2**31))


async def _commit(
    store: Store, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes, recipients: int = 2
) -> None:
    """Send two shares at once, while the disk may fail."""
    break_()
    words = await asyncio.gather(outcomes.share(store, 2, recipients), outcomes.share(store, 3, recipients))
    if "OUTCOME_UNKNOWN" in words:
        await store.failed.wait()
    if store.failed.is_set():
        outcomes.say("failed")
    else:
        await _count(store, outcomes)
    mend()


async def _count(store: Store, outcomes: Outcomes) -> None:
    try:
        outcomes.say(f"count {await store.count_sharings(given())}")
    except Failure as failure:
        outcomes.say(f"count {failure.reason}")


async def _go_on(store: Store, outcomes: Outcomes) -> None:
    """Send one more share, which works unless the store has failed; a failed store can be closed without harm."""
    await outcomes.share(store, 9)
    if store.failed.is_set():
        await store.close()


async def commit(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Commit after other commits; the process ends after the commit."""
    store = await _open(path)
    await outcomes.share(store, 1)
    await _commit(store, break_, mend, outcomes)


async def commits(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Commit after other commits, then commit once more."""
    store = await _open(path)
    await outcomes.share(store, 1)
    await _commit(store, break_, mend, outcomes)
    await _go_on(store, outcomes)


async def first_commit(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Make the first commit in a restarted log, which SQLite then truncates to its usual length."""
    sqlite_connection.LOG_KEPT = 4096  # type: ignore[misc] # longer than any here
    store = await _open(path)
    await outcomes.share(store, 4, recipients=40)
    await outcomes.share(store, 1)
    assert parts(store).checkpointer._stand_still(parts(store).writer._connection, 1)
    await _commit(store, break_, mend, outcomes)
    await _go_on(store, outcomes)


async def large_commit(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Make a commit so large that SQLite writes its first frames before the commit."""
    store = await _open(path)
    await outcomes.share(store, 1)
    parts(store).writer._connection.execute("PRAGMA cache_size = 4")
    await _commit(store, break_, mend, outcomes, recipients=12)
    await _go_on(store, outcomes)


async def long_log(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Make a commit that grows the index of the log; SQLite does that after the frames are on the disk."""
    store = await _open(path)
    await outcomes.share(store, 1)
    writing = parts(store).writer._connection
    writing.execute("CREATE TABLE filler (content)")
    writing.execute("INSERT INTO filler VALUES (zeroblob(?))", (4096 * 4030,))
    while log_use(log_path(path)).frames < INDEXED - 4:
        writing.execute("INSERT INTO filler VALUES (1)")
    await _commit(store, break_, mend, outcomes, recipients=12)
    await _go_on(store, outcomes)


async def checkpoint(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Checkpoint committed changes, then commit again."""
    store = await _open(path)
    await outcomes.share(store, 1)
    break_()
    checkpointer = parts(store).checkpointer
    checkpointer._attempt(lambda: checkpointer._stand_still(parts(store).writer._connection, 0.1))
    await _commit(store, lambda: None, mend, outcomes)
    await _go_on(store, outcomes)


async def close(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Close a store that has frames in its log."""
    store = await _open(path)
    await outcomes.share(store, 1)
    break_()
    await store.close()
    outcomes.say("failed" if store.failed.is_set() else "closed")


async def read(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Read, partly from the log."""
    store = await _open(path)
    await outcomes.share(store, 1)
    break_()
    for _ in range(3):
        await _count(store, outcomes)
    mend()
    await _count(store, outcomes)
    await _go_on(store, outcomes)


async def unclean(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Leave a database with a non-empty log for the next process."""
    await outcomes.share(await _open(path), 1)


async def start(path: Path, break_: Callable[[], None], mend: Callable[[], None], outcomes: Outcomes) -> None:
    """Start a server on that database; it retries until the disk works, and then the log must be empty."""
    readiness.TRY_EVERY = 0.01  # type: ignore[misc] # as long as the disk is broken
    break_()
    store = await open_store(str(path))
    outcomes.say("ready" if store._readiness.is_ready else f"not ready {await outcomes.share(store, 2)}")
    mend()
    while not store._readiness.is_ready:  # noqa: ASYNC110 -- there is no event for it
        await asyncio.sleep(0.01)
    outcomes.say(f"log {log_path(path).stat().st_size}")
    await outcomes.share(store, 9)


SCENES: Final[dict[str, Scene]] = {
    each.__name__: each
    for each in (commit, commits, first_commit, large_commit, long_log, checkpoint, close, read, start)
}


async def _make(path: Path) -> None:
    store = await open_store(str(path))
    await store.put_backup(PutBackup(backup(backup_id(1), description="x" * 3000), cause()))
    await store.close()


def _play(scene: Scene, path: Path, disk: FaultyDisk, fault: Fault, skip: int) -> None:
    """Run the scene in a process of its own, and kill that process at the end."""
    if (pid := os.fork()) == 0:
        outcomes = Outcomes(path.with_name("outcomes"))
        try:
            asyncio.run(_killed(scene(path, lambda: disk.break_(fault, skip), disk.mend, outcomes)))
        except BaseException as error:
            outcomes.say(f"defect {error!r}")
            raise
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


async def _killed(scene: Awaitable[None]) -> None:
    await scene
    os.kill(os.getpid(), signal.SIGKILL)


def _stored(path: Path) -> dict[str, object]:
    """Return the rows that a new process finds."""
    prepare(path, busy_timeout=5.0)
    with closing(sqlite3.connect(path)) as connection:
        sharings = [each for (each,) in connection.execute("SELECT id FROM sharings ORDER BY id")]
        events = [each for (each,) in connection.execute("SELECT sharing_id FROM sharing_events WHERE kind = 'shared'")]
        check = [each for (each,) in connection.execute("PRAGMA integrity_check")]
    return {"sharings": sharings, "whole": sorted(events) == sharings and check == ["ok"]}


def main(commands: str, folder: str, scene: str, *faults: str) -> None:
    disk = FaultyDisk(Path(commands))
    template = Path(folder) / "template" / FILE
    template.parent.mkdir()
    asyncio.run(_make(template))
    if scene == "start":
        _play(unclean, template, disk, Fault.read(faults[0]), MOST)
    for which, fault in enumerate(faults):
        for skip in range(MOST):
            path = Path(folder) / f"{which}-{skip}" / FILE
            shutil.copytree(template.parent, path.parent)
            _play(SCENES[scene], path, disk, Fault.read(fault), skip)
            disk.mend()
            failed = disk.failed
            outcomes = path.with_name("outcomes").read_text().splitlines()
            case = {"fault": which, "skip": skip, "failed": failed, "outcomes": outcomes, **_stored(path)}
            sys.stdout.write(json.dumps(case) + "\n")
            shutil.rmtree(path.parent)
            if not failed:
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
