"""The store: makes changes in batches on any engine, and runs queries in parallel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from backup_sharing.errors import Failure, Unavailable
from backup_sharing.model import Backup, Micros, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import (
    Cancel,
    CancelAll,
    Command,
    EndDue,
    PurgeEvents,
    PurgeSharings,
    PutBackup,
    RemoveBackup,
    Share,
)
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Engine, Query
from backup_sharing.store.interface import (
    CheckedAccess,
    EventFilter,
    LogBounds,
    OldEvent,
    OldSharing,
    SharingFilter,
    SharingQuery,
    StoredEvent,
    Swept,
)
from backup_sharing.store.listing import Counted, Part
from backup_sharing.store.observing.observer import StoreObserver, StoreReadings
from backup_sharing.store.queue import ChangeQueue
from backup_sharing.store.readiness import Readiness
from backup_sharing.store.unusable import UnusableDatabase

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CLOSE_WITHIN: Final = 5.0
"""Seconds that close waits for running commits, beyond the patience of their callers."""


class BatchedStore:
    """A `backup_sharing.store.interface.Store`. Open a store with `open`; close it with `close`."""

    def __init__(self, engine: Engine, queue: ChangeQueue) -> None:
        self._engine = engine
        self._queue = queue
        self._readiness = Readiness(engine.look)
        self._writers: Sequence[asyncio.Task[None]] = ()
        self._closed = False
        self._committed: Callable[[], None] | None = None
        self._ends: Callable[[Micros], None] | None = None

    @classmethod
    async def open(
        cls,
        engine: Engine,
        *,
        max_waiting: int = 10_000,
        max_batch: int = 256,
        commit_delay: float = 0.001,
        observer: StoreObserver | None = None,
    ) -> BatchedStore:
        """Open a store on a database; the store owns the engine from now on.

        Every call raises `Unavailable` while the database cannot be opened or reached, or lacks migrations.

        ``max_waiting``: maximum number of waiting changes; one more raises `Overloaded`.
        ``max_batch``: maximum number of changes per commit.
        ``commit_delay``: maximum seconds that a change waits for others to share its commit; a single caller never
        waits.
        ``observer``: is told how long changes waited.

        Raises UnusableDatabase if the database cannot be used, also not later.
        """
        queue = ChangeQueue(
            max_waiting=max_waiting,
            max_batch=max_batch,
            patience=engine.patience,
            commit_delay=commit_delay,
            observer=observer,
        )
        store = cls(engine, queue)
        try:
            await store._readiness.open()
        except UnusableDatabase:
            await engine.close()
            raise
        store._writers = [asyncio.create_task(store._commit_batches()) for _ in range(engine.writers)]
        return store

    @property
    def failed(self) -> asyncio.Event:
        """Set once only a new process can find out what is stored; then close nothing before the process ends."""
        return self._engine.failed

    @property
    def missing_migrations(self) -> Sequence[str] | None:
        """Names of the migrations that the database lacks; None: the database could not be looked at yet."""
        return self._readiness.missing

    @property
    def engine(self) -> tuple[str, str]:
        """Name of the engine, and its version, which is empty before it is known."""
        return self._engine.name, self._engine.version

    @property
    def ready(self) -> asyncio.Event:
        """Set once calls are served; until then, every call raises `Unavailable`."""
        return self._readiness.ready

    def hint_to(self, committed: Callable[[], None]) -> None:
        """Call ``committed`` soon after each commit of this store; it must be quick and raise nothing."""
        self._committed = committed

    def readings(self) -> StoreReadings:
        """Return the state of the store, at once."""
        return StoreReadings(self._queue.waiting, self._queue.aside, self._engine.readings())

    async def count_part(self, counted: Counted, after: str, limit: int) -> Part:
        """Count the next ``limit`` rows after a key; an empty key: from the first row on. Raises as any read."""
        return await self._answer(self._engine.reads.count_part(counted, after, limit))

    def hint_ends_to(self, ends: Callable[[Micros], None]) -> None:
        """Call ``ends`` with the end of each sharing made by this store; it must be quick and raise nothing."""
        self._ends = ends

    async def share(self, command: Share) -> Sequence[Sharing]:
        shared = await self._make(command)
        if self._ends is not None and command.expires_at is not None:
            self._ends(command.expires_at)
        return shared

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        return await self._make(command)

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        return await self._make(command)

    async def end_due(self, limit: int) -> Swept:
        # One more than the limit: the next one to end.
        ending = await self._answer(self._engine.reads.ending(limit + 1))
        due: dict[str, list[str]] = {}
        for each in ending[:limit]:
            if each.left <= 0:
                due.setdefault(each.backup_id, []).append(each.sharing_id)
        made = [asyncio.ensure_future(self._make(EndDue(*of_backup))) for of_backup in due.items()]
        await asyncio.gather(*made, return_exceptions=True)
        ended = sum(len(each.result()) for each in made)
        following = ending[sum(map(len, due.values())) :]
        return Swept(ended, following[0].left if following else None)

    async def put_backup(self, command: PutBackup) -> Backup:
        await self._make(command)
        return command.backup

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        return await self._make(command)

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        return await self._answer(self._engine.reads.get_sharing(project_id, sharing_id))

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        return await self._answer(self._engine.reads.list_sharings(query))

    async def count_sharings(self, filter: SharingFilter) -> int:
        return await self._answer(self._engine.reads.count_sharings(filter))

    async def get_backup(self, backup_id: str) -> Backup:
        return await self._answer(self._engine.reads.get_backup(backup_id))

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        return await self._answer(self._engine.reads.list_backups(project_id, limit, after_id))

    async def check_access(self, pairs: Sequence[tuple[str, str]]) -> CheckedAccess:
        return await self._answer(self._engine.reads.check_access(pairs))

    async def log_bounds(self) -> LogBounds:
        return await self._answer(self._engine.reads.log_bounds())

    async def events_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        return await self._answer(self._engine.reads.events_after(position, limit))

    async def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Page[StoredEvent]:
        return await self._answer(self._engine.reads.list_events(filter, limit, offset, after, descending=descending))

    async def time(self) -> Micros:
        return await self._answer(self._engine.reads.time())

    async def old_events(self, before: Micros, limit: int, after: int = 0) -> Sequence[OldEvent]:
        return await self._answer(self._engine.reads.old_events(before, limit, after))

    async def old_sharings(self, before: Micros, limit: int, after: OldSharing | None = None) -> Sequence[OldSharing]:
        return await self._answer(self._engine.reads.old_sharings(before, limit, after))

    async def purge_events(self, before: Micros, limit: int) -> int:
        # A change that names the last position: whatever others have deleted since, all up to there may go.
        if old := await self.old_events(before, limit):
            await self._make(PurgeEvents(old[-1].position))
        return len(old)

    async def purge_sharings(self, before: Micros, limit: int) -> int:
        if old := await self.old_sharings(before, limit):
            await self._make(PurgeSharings([each.id for each in old]))
        return len(old)

    async def ping(self) -> None:
        self._check()
        await self._engine.ping()

    async def close(self) -> None:
        """See `Store.close`; may be called again. After `failed`, this waits for no commit and closes nothing."""
        self._closed = True
        await self._readiness.close()
        self._queue.stop()
        self._engine.stop()
        if self._writers:
            patience = 0 if self.failed.is_set() else self._engine.patience + _CLOSE_WITHIN
            await asyncio.wait(self._writers, timeout=patience)
        await self._engine.close()
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)

    def _check(self) -> None:
        if self._closed:
            raise Unavailable("The store is closed.")
        self._readiness.check()

    async def _answer(self, query: Query[T]) -> T:
        self._check()
        return await self._engine.query(query)

    async def _make(self, command: Command) -> Sequence[Sharing]:
        self._check()
        return await self._queue.make(command)

    async def _commit_batches(self) -> None:
        """Commit one batch after another, until the queue is stopped."""
        while batch := await self._queue.take():
            try:
                self._queue.put_aside(await self._engine.commit(batch))
            except Failure as failure:
                _fail(batch, failure)
            except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the writer
                _log.exception("a batch of changes failed because of a defect")
                _fail(batch, error)
            if self._committed is not None:
                self._committed()


def _fail(batch: Sequence[Change], failure: Exception) -> None:
    for change in batch:
        change.fail(failure)
