"""The engine on a PostgreSQL database: for any number of servers on any number of machines."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar, cast

from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from backup_sharing.errors import Unavailable
from backup_sharing.model import Micros
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Query, Reads
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.observing.observer import PostgresReadings, StoreObserver
from backup_sharing.store.postgres import reads
from backup_sharing.store.postgres.connection import Connection, configure, connect_to_write, connection_string, within
from backup_sharing.store.postgres.faults import FAULTS, failure_of, is_gone, log_fault
from backup_sharing.store.postgres.pooling import PreparedStatements, alone
from backup_sharing.store.postgres.probe import Probe
from backup_sharing.store.postgres.schema import prepare
from backup_sharing.store.postgres.sequencer import read_in_order
from backup_sharing.store.postgres.session import Session
from backup_sharing.store.postgres.writer import Writer

T = TypeVar("T")

_PING_WITHIN: Final = 0.8
"""Seconds that a ping may take: the second of `Store.ping`, less the time for the reply."""

_RECONNECT: Final = 0.2
"""Seconds that the pool tries to replace a connection by itself; later it tries on request."""

_SLICE: Final = 0.5
"""Seconds to wait for a connection before the pool is asked again."""

_STOPPED_WITHIN: Final = 1.0
"""Seconds for a server to stop a query whose caller has gone; then the connection is broken off."""

_SILENT: Final = 1.0
"""Seconds beyond the patience after which a server that does not respond to a change counts as gone."""

_RETRY_WITHIN: Final = 0.02
"""Maximum seconds before a query whose connection broke is retried on another connection."""

_END_WITHIN: Final = 0.5
"""Seconds for a commit to end after its connection was broken off."""
_LOOK_AGAIN: Final = 0.01
"""Seconds between checks whether the commit has ended."""

_Pool = AsyncConnectionPool[Connection]


class PostgresEngine:
    """A `backup_sharing.store.engine.Engine` on the database of a URL."""

    reads: Reads = reads
    name: str = "postgresql"

    def __init__(
        self,
        url: str,
        *,
        read_connections: int = 4,
        write_connections: int = 1,
        patience: float = 5.0,
        clock: Callable[[], Micros] | None = None,
        prepared: PreparedStatements = "auto",
        known: Sequence[Migration] = MIGRATIONS,
        observer: StoreObserver | None = None,
    ) -> None:
        """Use the database at ``url``; the first `look` connects.

        ``read_connections``: number of concurrent reads.
        ``write_connections``: number of concurrent transactions that change data.
        ``patience``: seconds to wait for the database, and for locks of others, before a call raises `Unavailable`.
        ``clock``: tells the time at which sharings end; None: the database does, which is the same for all servers.
        ``prepared``: whether to prepare statements.
        ``known``: migrations that the program needs.
        ``observer``: receives measurements.

        Raises UnusableDatabase if the URL cannot be used.
        """
        conninfo = connection_string(url)
        self._url = url
        self._known = known
        self.version = ""
        self._now: Callable[[], Micros | None] = clock or (lambda: None)
        self.patience = patience
        self.writers = write_connections
        self.failed = asyncio.Event()
        """Never set: whatever happens to the database, another connection finds out what the database holds."""
        connect = partial(connect_to_write, conninfo, patience, prepared)
        sessions = [Session(connect, patience + _SILENT, observer) for _ in range(write_connections)]
        self._writers = [Writer(session, self._now, observer) for session in sessions]
        self._observer = observer
        self._idle = list(self._writers)
        self._pool: _Pool = AsyncConnectionPool(
            conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            configure=partial(configure, patience=patience, prepared=prepared),
            min_size=1,
            max_size=read_connections,
            reconnect_timeout=_RECONNECT,
            open=False,
        )
        self._is_pool_open = False
        self._probe = Probe(conninfo, _PING_WITHIN, prepared)
        self._stopped = False
        self._asked: set[asyncio.Task[object]] = set()

    async def look(self) -> Sequence[str]:
        """Create the tables if there are none; return the pending migrations.

        Raises UnusableDatabase if the database cannot be used, or was made by a newer version of this program;
        UnreachableDatabase if no server responds.
        """
        status = await asyncio.to_thread(prepare, self._url, known=self._known, seen=self._note_version)
        if not self._is_pool_open:
            await self._pool.open()
            self._is_pool_open = True
        # A database that was empty has all migrations by now.
        return [] if status.is_empty else status.pending

    def _note_version(self, version: str) -> None:
        self.version = version

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make changes on an idle writer, and settle them; return the changes whose backups others have locked."""
        writer = self._idle.pop()  # never empty: one writer per concurrent batch
        try:
            return await writer.commit(batch)
        finally:
            self._idle.append(writer)

    async def query(self, query: Query[T]) -> T:
        """Return the result of a query, or raise `Unavailable` when the time is up."""
        if self._stopped:
            raise Unavailable("The store is closed.")
        # A cancelled driver asks the server to stop, too, and waits for the reply: so this does not wait for the
        # driver.
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
        await self._probe.look()
        if all(writer.is_stuck for writer in self._writers):
            # Commits may wait for a standby that is away, which no query shows.
            raise Unavailable("Nothing can be stored now.")

    def readings(self) -> PostgresReadings:
        """Return the state of the connections."""
        pool = self._pool.get_stats()
        idle = pool.get("pool_available", 0)
        return PostgresReadings(
            idle=idle,
            used=pool.get("pool_size", 0) - idle,
            most=pool["pool_max"],
            waiting=pool.get("requests_waiting", 0),
            opened=pool.get("connections_num", 0),
            failed=pool.get("connections_errors", 0),
            writers_in_doubt=sum(writer.is_stuck for writer in self._writers),
        )

    def stop(self) -> None:
        """Begin no more queries; stop asking for the fate of a commit once its callers have gone."""
        self._stopped = True
        for writer in self._writers:
            writer.stop()

    async def close(self) -> None:
        """Close the connections; running commits fail as if the server were gone."""
        self.stop()
        await self._probe.close()
        give_up_at = time.monotonic() + _END_WITHIN
        while len(self._idle) < len(self._writers) and time.monotonic() < give_up_at:
            for writer in self._writers:
                writer.break_off()
            await asyncio.sleep(_LOOK_AGAIN)
        for writer in self._writers:
            await writer.close()
        for asked in self._asked:
            asked.cancel()
        await self._pool.close()
        await asyncio.gather(*self._asked, return_exceptions=True)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            if self._observer is not None:
                self._observer.round_trip("read", time.monotonic() - began)

    def _forget(self, asked: asyncio.Task[T]) -> None:
        self._asked.discard(cast("asyncio.Task[object]", asked))
        if not asked.cancelled():
            asked.exception()

    async def _answer(self, query: Query[T], give_up_at: float) -> T:
        """Return the result of a query; while there is time, retry on another connection if one breaks."""
        while True:
            left = give_up_at - time.monotonic()
            try:
                async with self._pool.connection(timeout=min(_SLICE, max(left, 0.01))) as connection:
                    with within(connection, give_up_at - time.monotonic() + _STOPPED_WITHIN), self._timed():
                        parameters = reads.as_stored({**query.parameters, "now": self._now()})
                        if query.in_order:
                            return query.answer(await read_in_order(connection, query.statement, parameters))
                        rows = await alone(connection, query.statement, parameters)
                        return query.answer(await rows.fetchall())
            except (PoolTimeout, PoolClosed) as error:
                if self._stopped or time.monotonic() >= give_up_at:
                    raise Unavailable("The database cannot be reached, or too many use it; try again later.") from error
            except FAULTS as error:
                if not is_gone(error) or time.monotonic() >= give_up_at:
                    log_fault(error)
                    raise failure_of(error) from error
                await asyncio.sleep(random.uniform(0, _RETRY_WITHIN))  # noqa: S311 -- no secret
