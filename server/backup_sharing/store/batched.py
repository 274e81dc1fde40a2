"""The store: makes changes in batches, on any engine, and answers queries beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, TypeVar

from backup_sharing.errors import Failure, Unavailable
from backup_sharing.model import Backup, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, Command, PutBackup, RemoveBackup, Share
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Engine, Query
from backup_sharing.store.interface import SharingFilter, SharingQuery
from backup_sharing.store.queue import ChangeQueue
from backup_sharing.store.readiness import Readiness
from backup_sharing.store.unusable import UnusableDatabase

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CLOSE_WITHIN: Final = 5.0
"""Seconds that close waits for what is being committed, beyond the time that its callers have."""


class BatchedStore:
    """A `backup_sharing.store.interface.Store`. Open one with `open`; close it with `close`."""

    def __init__(self, engine: Engine, queue: ChangeQueue) -> None:
        self._engine = engine
        self._queue = queue
        self._readiness = Readiness(engine.look)
        self._lanes: Sequence[asyncio.Task[None]] = ()
        self._closed = False

    @classmethod
    async def open(
        cls, engine: Engine, *, max_waiting: int = 10_000, max_batch: int = 256, commit_delay: float = 0.001
    ) -> BatchedStore:
        """Open a store on a database, which is the store's from now on.

        Every call is `Unavailable` while the database cannot be opened or reached, or lacks migrations.

        ``max_waiting``: the most changes that wait; one more is `Overloaded`.
        ``max_batch``: the most changes that share a commit.
        ``commit_delay``: the most seconds that a change waits for others to share its commit, when there are such.

        Raises UnusableDatabase if the database cannot be used, also not later.
        """
        queue = ChangeQueue(
            max_waiting=max_waiting, max_batch=max_batch, patience=engine.patience, commit_delay=commit_delay
        )
        store = cls(engine, queue)
        try:
            await store._readiness.open()
        except UnusableDatabase:
            await engine.close()
            raise
        store._lanes = [asyncio.create_task(store._commit_batches()) for _ in range(engine.lanes)]
        return store

    @property
    def failed(self) -> asyncio.Event:
        """Set once only a fresh process can find out what is stored; then nothing may be closed before it ends."""
        return self._engine.failed

    async def share(self, command: Share) -> Sequence[Sharing]:
        """As `Store.share`."""
        return await self._make(command)

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """As `Store.cancel`."""
        return await self._make(command)

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """As `Store.cancel_all`."""
        return await self._make(command)

    async def put_backup(self, command: PutBackup) -> Backup:
        """As `Store.put_backup`."""
        await self._make(command)
        return command.backup

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        """As `Store.remove_backup`."""
        return await self._make(command)

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """As `Store.get_sharing`."""
        return await self._answer(self._engine.reads.get_sharing(project_id, sharing_id))

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """As `Store.list_sharings`."""
        return await self._answer(self._engine.reads.list_sharings(query))

    async def count_sharings(self, filter: SharingFilter) -> int:
        """As `Store.count_sharings`."""
        return await self._answer(self._engine.reads.count_sharings(filter))

    async def get_backup(self, backup_id: str) -> Backup:
        """As `Store.get_backup`."""
        return await self._answer(self._engine.reads.get_backup(backup_id))

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """As `Store.list_backups`."""
        return await self._answer(self._engine.reads.list_backups(project_id, limit, after_id))

    async def ping(self) -> None:
        """As `Store.ping`."""
        self._check()
        await self._engine.ping()

    async def close(self) -> None:
        """As `Store.close`; may be called again. After `failed` nothing is waited for, and nothing closed."""
        self._closed = True
        await self._readiness.close()
        self._queue.stop()
        self._engine.stop()
        if self._lanes:
            patience = 0 if self.failed.is_set() else self._engine.patience + _CLOSE_WITHIN
            await asyncio.wait(self._lanes, timeout=patience)
        await self._engine.close()
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)

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
        """Have one batch after the other committed, until the queue is stopped."""
        while batch := await self._queue.take():
            try:
                self._queue.put_aside(await self._engine.commit(batch))
            except Failure as failure:
                _fail(batch, failure)
            except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the lane
                _log.exception("a batch of changes ended in a defect")
                _fail(batch, error)


def _fail(batch: Sequence[Change], failure: Exception) -> None:
    for change in batch:
        change.fail(failure)
