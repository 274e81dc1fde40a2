"""Helpers for tests of a store on a failing PostgreSQL: opened stores, load, and checks of the stored rows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Overloaded, Unavailable
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import backup, backup_id, cause, project_id, share
from tests.store.engines import PostgresEngine
from tests.store.opened import open_postgres

SLACK = 20.0
"""Seconds by which a call may be late on a busy machine."""
EXPECTED = (Unavailable, DeadlineTooClose, Overloaded, OutcomeUnknown)
"""Errors that a caller may get while the database is unavailable."""


@asynccontextmanager
async def opened(url: str, patience: float = 5.0, read_connections: int = 4) -> AsyncIterator[Store]:
    """Open a store and try to store one available backup; close the store at the end."""
    store = await open_postgres(url, patience=patience, read_connections=read_connections)
    try:
        for _ in range(3):
            with suppress(Unavailable, OutcomeUnknown):
                await store.put_backup(PutBackup(backup(), cause()))
                break
        yield store
    finally:
        await store.close()


async def timed(call: Awaitable[object]) -> tuple[float, BaseException | object]:
    """Return the seconds that a call took, and its result or exception."""
    began = time.monotonic()
    (outcome,) = await asyncio.gather(call, return_exceptions=True)
    return time.monotonic() - began, outcome


async def until(is_so: Callable[[], Awaitable[object]], within: float = 60.0) -> float:
    """Repeat the call until it succeeds; return the seconds that this took."""
    began = time.monotonic()
    while True:
        try:
            await is_so()
        except EXPECTED:
            assert time.monotonic() - began < within, "does not recover"
            await asyncio.sleep(0.01)
        else:
            return time.monotonic() - began


def stored_once(url: str, acknowledged: Iterable[Sharing]) -> None:
    """Assert that every acknowledged sharing is stored, and that the events match the stored sharings exactly."""
    engine = PostgresEngine(url, None)
    history = {sharing.id: sharing for sharing in engine.history()}
    lost = [sharing for sharing in acknowledged if sharing.id not in history]
    assert not lost
    reported = Counter((event.kind, event.sharing_id) for event in engine.events() if event.sharing_id)
    expected = Counter(("shared", shared) for shared in history)
    expected.update(("cancelled", sharing.id) for sharing in history.values() if sharing.deleted_at is not None)
    assert reported == expected
    assert engine.wrong_counters() == []


def sessions(url: str) -> int:
    """Return the number of sessions of stores on the server."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backup-sharing'"
            " AND datname = current_database()"
        ).fetchall()
    return int(rows[0][0])


@dataclass(slots=True)
class Load:
    """Concurrent shares and reads, until `end` is called."""

    stores: Sequence[Store]
    acknowledged: list[Sharing] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    longest: float = 0.0
    _calls: int = 0
    _stopped: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def begin(self, writers: int = 16, readers: int = 4, backups: int = 4) -> None:
        for number in range(1, backups + 1):
            await self.stores[0].put_backup(PutBackup(backup(backup_id(number)), cause()))
        self._tasks += [asyncio.create_task(self._write(number, backups)) for number in range(writers)]
        self._tasks += [asyncio.create_task(self._read(number)) for number in range(readers)]
        await self.more(50)

    async def more(self, count: int, within: float = 60.0) -> None:
        """Wait until ``count`` more shares are acknowledged."""
        wanted, end = len(self.acknowledged) + count, time.monotonic() + within
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end, f"no progress: {self.failures[-3:]}"
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        """Stop the load; raise unexpected exceptions."""
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _write(self, number: int, backups: int) -> None:
        store = self.stores[number % len(self.stores)]
        while not self._stopped:
            self._calls += 1
            to = project_id(self._calls)
            await self._call(store.share(share(to, backup_id=backup_id(1 + self._calls % backups))), keep=True)

    async def _read(self, number: int) -> None:
        while not self._stopped:
            await self._call(self.stores[number % len(self.stores)].get_backup(backup_id(1)), keep=False)

    async def _call(self, call: Awaitable[object], *, keep: bool) -> None:
        seconds, outcome = await timed(call)
        self.longest = max(self.longest, seconds)
        if isinstance(outcome, EXPECTED):
            self.failures.append(outcome)
            await asyncio.sleep(0.01)
        elif isinstance(outcome, BaseException):
            raise outcome
        elif keep:
            self.acknowledged += outcome  # type: ignore[operator]  # the result of a share
