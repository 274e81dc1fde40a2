"""The engine in a PostgreSQL database: for any number of servers on any number of machines."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeVar, cast

from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from backup_sharing.errors import Unavailable
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Query, Reads
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.postgres import reads
from backup_sharing.store.postgres.connection import Connection, configure, connect_to_write, connection_string, within
from backup_sharing.store.postgres.faults import FAULTS, failure_of, is_gone, log_fault
from backup_sharing.store.postgres.lane import Lane
from backup_sharing.store.postgres.probe import Probe
from backup_sharing.store.postgres.schema import prepare
from backup_sharing.store.postgres.session import Session

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

_END_WITHIN: Final = 0.5
"""Seconds for a commit to end whose connection was broken off."""
_LOOK_AGAIN: Final = 0.01
"""Seconds between two looks whether it has ended."""

_Pool = AsyncConnectionPool[Connection]


class PostgresEngine:
    """A `backup_sharing.store.engine.Engine` on the database of a url."""

    reads: Reads = reads

    def __init__(
        self,
        url: str,
        *,
        read_connections: int = 4,
        write_connections: int = 1,
        patience: float = 5.0,
        known: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        """Use the database at ``url``; nothing is connected before the first `look`.

        ``read_connections``: how many reads run at once.
        ``write_connections``: how many transactions change data at once.
        ``patience``: seconds to wait for the database, and for others that use it, before a call is `Unavailable`.
        ``known``: the migrations that the program needs.

        Raises UnusableDatabase if the url cannot be used.
        """
        conninfo = connection_string(url)
        self._url = url
        self._known = known
        self.patience = patience
        self.lanes = write_connections
        self.failed = asyncio.Event()
        """Never set: whatever happens to the database, another connection finds out what it holds."""
        connect = partial(connect_to_write, conninfo, patience)
        self._lanes = [Lane(Session(connect, patience + _SILENT)) for _ in range(write_connections)]
        self._idle = list(self._lanes)
        self._pool: _Pool = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            configure=partial(configure, patience=patience),
            min_size=1,
            max_size=read_connections,
            reconnect_timeout=_RECONNECT,
            open=False,
        )
        self._is_pool_open = False
        self._probe = Probe(conninfo, _PING_WITHIN)
        self._stopped = False
        self._asked: set[asyncio.Task[object]] = set()

    async def look(self) -> Sequence[str]:
        """Make the tables if there are none; answers the migrations that the database lacks.

        Raises UnusableDatabase if what is there cannot be used, or was made by a newer version of this program;
        UnreachableDatabase if nobody answers.
        """
        status = await asyncio.to_thread(prepare, self._url, known=self._known)
        if not self._is_pool_open:
            await self._pool.open()
            self._is_pool_open = True
        # One that had nothing has all of it by now.
        return [] if status.is_empty else status.pending

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make changes on a lane of their own, and settle them; answers those whose backups others have locked."""
        lane = self._idle.pop()  # never empty: one for each batch that is committed at the same time
        try:
            return await lane.commit(batch)
        finally:
            self._idle.append(lane)

    async def query(self, query: Query[T]) -> T:
        """Answer a query, or raise `Unavailable` when there is no time left."""
        if self._stopped:
            raise Unavailable("The store is closed.")
        # A driver that is told to stop asks the server to stop, too, and waits for it: so it is left to itself.
        asking = asyncio.create_task(self._answer(query, time.monotonic() + self.patience))
        self._asked.add(cast("asyncio.Task[object]", asking))
        asking.add_done_callback(self._forget)
        try:
            await asyncio.wait((asking,), timeout=self.patience)
        finally:
            if not asking.done():
                asking.cancel()
        if not asking.done():
            raise Unavailable("The database did not answer in time.")
        return asking.result()

    async def ping(self) -> None:
        """As `Store.ping`."""
        await self._probe.look()
        if all(lane.is_stuck for lane in self._lanes):
            # Commits may wait for a standby that is away: no question shows that.
            raise Unavailable("Nothing can be stored now.")

    def stop(self) -> None:
        """Begin no more queries; nobody waits for the fate of a commit once its callers have gone."""
        self._stopped = True
        for lane in self._lanes:
            lane.stop()

    async def close(self) -> None:
        """Let the connections go; what is still being committed fails as if the server were gone."""
        self.stop()
        await self._probe.close()
        give_up_at = time.monotonic() + _END_WITHIN
        while len(self._idle) < len(self._lanes) and time.monotonic() < give_up_at:
            for lane in self._lanes:
                lane.break_off()
            await asyncio.sleep(_LOOK_AGAIN)
        for lane in self._lanes:
            await lane.close()
        for asked in self._asked:
            asked.cancel()
        await self._pool.close()
        await asyncio.gather(*self._asked, return_exceptions=True)

    def _forget(self, asked: asyncio.Task[T]) -> None:
        self._asked.discard(cast("asyncio.Task[object]", asked))
        if not asked.cancelled():
            asked.exception()

    async def _answer(self, query: Query[T], give_up_at: float) -> T:
        """Answer a query; again on another connection, while there is time, if one breaks."""
        while True:
            left = give_up_at - time.monotonic()
            try:
                async with self._pool.connection(timeout=min(_SLICE, max(left, 0.01))) as connection:
                    with within(connection, give_up_at - time.monotonic() + _STOPPED_WITHIN):
                        rows = await connection.execute(query.statement, reads.as_stored(query.parameters))
                        return query.answer(await rows.fetchall())
            except (PoolTimeout, PoolClosed) as error:
                if self._stopped or time.monotonic() >= give_up_at:
                    raise Unavailable("The database cannot be reached, or too many use it; try again later.") from error
            except FAULTS as error:
                if not is_gone(error) or time.monotonic() >= give_up_at:
                    log_fault(error)
                    raise failure_of(error) from error
                await asyncio.sleep(random.uniform(0, _TRY_AGAIN))  # noqa: S311 -- no secret
