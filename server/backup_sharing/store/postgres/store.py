"""The store in a PostgreSQL database: for any number of servers on any number of machines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar, cast

from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from backup_sharing.errors import Unavailable
from backup_sharing.model import Backup, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, Command, PutBackup, RemoveBackup, Share
from backup_sharing.store.interface import SharingFilter, SharingQuery
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.postgres import reads as reads
from backup_sharing.store.postgres.connection import Connection, configure, connect_to_write, connection_string, within
from backup_sharing.store.postgres.faults import FAULTS, failure_of, is_gone, log_fault
from backup_sharing.store.postgres.probe import Probe
from backup_sharing.store.postgres.queue import Queue
from backup_sharing.store.postgres.session import Session
from backup_sharing.store.postgres.tables import Tables
from backup_sharing.store.postgres.writer import Lane, Writer

T = TypeVar("T")

_PING_WITHIN: Final = 0.8
"""Seconds: what `Store.ping` promises, less the time to say so."""

_RECONNECT: Final = 0.2
"""Seconds that the pool tries to replace a connection by itself; later it tries when one is asked for."""

_SLICE: Final = 0.5
"""Seconds to wait for a connection until the pool is asked again."""

_STOPPED_WITHIN: Final = 1.0
"""Seconds for a server to stop a query that nobody waits for any more; then the connection is broken off."""

_SILENT: Final = 1.0
"""Seconds beyond its patience after which a server that said nothing to a change counts as gone."""

_TRY_AGAIN: Final = 0.02
"""Seconds, at most, until a query is asked on another connection whose own broke."""

_Pool = AsyncConnectionPool[Connection]


class PostgresStore:
    """A `backup_sharing.store.interface.Store`. Open one with `open`; close it with `close`."""

    def __init__(
        self, tables: Tables, writer: Writer, queue: Queue, pool: _Pool, probe: Probe, patience: float
    ) -> None:
        self._tables = tables
        self._writer = writer
        self._queue = queue
        self._pool = pool
        self._probe = probe
        self._patience = patience
        self._closed = False
        self.failed = asyncio.Event()
        """Never set: whatever happens to the database, another connection finds out what it holds."""
        self._asked: set[asyncio.Task[object]] = set()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        max_waiting: int = 10_000,
        max_batch: int = 256,
        read_connections: int = 4,
        write_connections: int = 1,
        patience: float = 5.0,
        commit_delay: float = 0.001,
        known: Sequence[Migration] = MIGRATIONS,
    ) -> PostgresStore:
        """Open the database at ``url``; make its tables, if it has none.

        While its tables are those of an older version every call is `Unavailable`, and so it is while the database
        cannot be reached: that need not be so for ever.

        ``max_waiting``: the most changes that wait; one more is `Overloaded`.
        ``max_batch``: the most changes that share a commit.
        ``read_connections``: how many reads run at once.
        ``write_connections``: how many transactions change data at once.
        ``patience``: seconds to wait for the database, and for others that use it, before a call is `Unavailable`.
        ``commit_delay``: the most seconds that a change waits for others to share its commit, when there are such.
        ``known``: the migrations that the program needs.

        Raises UnusableDatabase if the url or what is there cannot be used, or was made by a newer version of this
        program.
        """
        conninfo = connection_string(url)
        pool: _Pool = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            configure=partial(configure, patience=patience),
            min_size=1,
            max_size=read_connections,
            reconnect_timeout=_RECONNECT,
            open=False,
        )
        tables = Tables(url, known)
        await tables.open()
        queue = Queue(max_waiting, max_batch, patience, commit_delay)
        connect = partial(connect_to_write, conninfo, patience)
        lanes = [Lane(queue, Session(connect, patience + _SILENT)) for _ in range(write_connections)]
        await pool.open()
        return cls(tables, Writer(queue, lanes, patience), queue, pool, Probe(conninfo, _PING_WITHIN), patience)

    async def share(self, command: Share) -> Sequence[Sharing]:
        """Do what `Store.share` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """Do what `Store.cancel` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """Do what `Store.cancel_all` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Do what `Store.get_sharing` promises."""
        return await self._read(partial(reads.get_sharing, project_id=project_id, sharing_id=sharing_id))

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """Do what `Store.list_sharings` promises."""
        return await self._read(partial(reads.list_sharings, query=query))

    async def count_sharings(self, filter: SharingFilter) -> int:
        """Do what `Store.count_sharings` promises."""
        return await self._read(partial(reads.count_sharings, filter=filter))

    async def put_backup(self, command: PutBackup) -> Backup:
        """Do what `Store.put_backup` promises."""
        await self._make(command)
        return command.backup

    async def get_backup(self, backup_id: str) -> Backup:
        """Do what `Store.get_backup` promises."""
        return await self._read(partial(reads.get_backup, backup_id=backup_id))

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """Do what `Store.list_backups` promises."""
        return await self._read(partial(reads.list_backups, project_id=project_id, limit=limit, after_id=after_id))

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        """Do what `Store.remove_backup` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def ping(self) -> None:
        """Do what `Store.ping` promises."""
        self._tables.check()
        await self._probe.look()
        if self._writer.is_stuck:
            # Commits may wait for a standby that is away: no question shows that.
            raise Unavailable("Nothing can be stored now.")

    async def close(self) -> None:
        """Do what `Store.close` promises; may be called again."""
        self._closed = True
        await self._tables.close()
        await self._probe.close()
        await self._writer.close()
        for asked in self._asked:
            asked.cancel()
        await self._pool.close()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _make(self, command: Command) -> object:
        if not self._closed:
            self._tables.check()
        return await self._queue.make(command)

    async def _read(self, query: Callable[[Connection], Awaitable[T]]) -> T:
        """Answer a query, or raise `Unavailable` when there is no time left."""
        if self._closed:
            raise Unavailable("The store is closed.")
        self._tables.check()
        # A driver that is told to stop asks the server to stop, too, and waits for it: so it is left to itself.
        asking = asyncio.create_task(self._answer(query, asyncio.get_running_loop().time() + self._patience))
        self._asked.add(cast("asyncio.Task[object]", asking))
        asking.add_done_callback(self._forget)
        try:
            await asyncio.wait((asking,), timeout=self._patience)
        finally:
            if not asking.done():
                asking.cancel()
        if not asking.done():
            raise Unavailable("The database did not answer in time.")
        return asking.result()

    def _forget(self, asked: asyncio.Task[T]) -> None:
        self._asked.discard(cast("asyncio.Task[object]", asked))
        if not asked.cancelled():
            asked.exception()

    async def _answer(self, query: Callable[[Connection], Awaitable[T]], give_up: float) -> T:
        """Answer a query; again on another connection, while there is time, if one breaks."""
        loop = asyncio.get_running_loop()
        while True:
            left = give_up - loop.time()
            try:
                async with self._pool.connection(timeout=min(_SLICE, max(left, 0.01))) as connection:
                    with within(connection, give_up - loop.time() + _STOPPED_WITHIN):
                        return await query(connection)
            except (PoolTimeout, PoolClosed) as error:
                if self._closed or loop.time() >= give_up:
                    raise Unavailable("The database cannot be reached, or too many use it; try again later.") from error
            except FAULTS as error:
                if not is_gone(error) or loop.time() >= give_up:
                    log_fault(error)
                    raise failure_of(error) from error
                await asyncio.sleep(random.uniform(0, _TRY_AGAIN))  # noqa: S311 -- no secret
