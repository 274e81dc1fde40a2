"""Stands for a store whose database cannot be opened yet, because its disk fails: tries again until it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from sqlite3 import Connection
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.model import Backup, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, PutBackup, RemoveBackup, Share
from backup_sharing.store.interface import SharingFilter, SharingQuery, Store
from backup_sharing.store.unusable import FailingDatabase

_log = logging.getLogger(__name__)

TRY_EVERY: Final = 1.0
"""Seconds between two attempts."""


class Recovering:
    """A `backup_sharing.store.interface.Store` that answers `Unavailable` until the one that it stands for is open."""

    def __init__(self, open_store: Callable[[], Awaitable[Store]], failed: asyncio.Event, why: FailingDatabase) -> None:
        """Take how to open the store, which sets ``failed`` as `Store.failed` says, and why that failed just now."""
        self._open = open_store
        self._failed = failed
        self._store: Store | None = None
        self._closed = False
        self._kept = why.kept
        _log.error("the database cannot be opened; no call is served until it can: %s", why, exc_info=why)
        self._attempts = asyncio.create_task(self._try(str(why)))

    @property
    def failed(self) -> asyncio.Event:
        """Set when the store has failed for good."""
        return self._failed

    async def share(self, command: Share) -> Sequence[Sharing]:
        """Do what `Store.share` promises."""
        return await self._ready().share(command)

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """Do what `Store.cancel` promises."""
        return await self._ready().cancel(command)

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """Do what `Store.cancel_all` promises."""
        return await self._ready().cancel_all(command)

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Do what `Store.get_sharing` promises."""
        return await self._ready().get_sharing(project_id, sharing_id)

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """Do what `Store.list_sharings` promises."""
        return await self._ready().list_sharings(query)

    async def count_sharings(self, filter: SharingFilter) -> int:
        """Do what `Store.count_sharings` promises."""
        return await self._ready().count_sharings(filter)

    async def put_backup(self, command: PutBackup) -> Backup:
        """Do what `Store.put_backup` promises."""
        return await self._ready().put_backup(command)

    async def get_backup(self, backup_id: str) -> Backup:
        """Do what `Store.get_backup` promises."""
        return await self._ready().get_backup(backup_id)

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """Do what `Store.list_backups` promises."""
        return await self._ready().list_backups(project_id, limit, after_id)

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        """Do what `Store.remove_backup` promises."""
        return await self._ready().remove_backup(command)

    async def ping(self) -> None:
        """Do what `Store.ping` promises."""
        await self._ready().ping()

    async def close(self) -> None:
        """Do what `Store.close` promises; a database that was never opened is left as the unclean end left it."""
        self._closed = True
        self._attempts.cancel()
        with suppress(asyncio.CancelledError):
            await self._attempts
        if self._store is not None:
            await self._store.close()
        elif self._kept is not None:
            self._failed.set()

    def _ready(self) -> Store:
        if self._closed:
            raise Unavailable("The store is closed.")
        if self._store is None:
            raise Unavailable("The disk of the store fails; no call is served until the database could be recovered.")
        return self._store

    async def _try(self, why: str) -> None:
        while self._store is None:
            await asyncio.sleep(TRY_EVERY)
            try:
                self._store = await self._open()
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is tried again
                if isinstance(error, FailingDatabase) and error.kept is not None:
                    self._keep(error.kept)
                if str(error) != why:
                    why = str(error)
                    _log.error("the database still cannot be opened: %s", why, exc_info=error)
        if self._kept is not None:
            self._kept.close()
        _log.warning("the database is open again; calls are served")

    def _keep(self, connection: Connection) -> None:
        """Keep the first, which then is not the last one of those that are closed."""
        if self._kept is None:
            self._kept = connection
        else:
            connection.close()
