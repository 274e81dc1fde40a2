"""The engine on one SQLite file: for one machine, with any number of processes on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

from backup_sharing.errors import Unavailable
from backup_sharing.model import Micros
from backup_sharing.store.breakdown import Breakdown
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Query, Reads, system_clock
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.observing.observer import SqliteReadings, StoreObserver
from backup_sharing.store.sqlite import file, reads
from backup_sharing.store.sqlite.checkpointer import Checkpointer, LogBounds
from backup_sharing.store.sqlite.connection import connect, connect_to_write
from backup_sharing.store.sqlite.probe import Probe
from backup_sharing.store.sqlite.readers import Readers
from backup_sharing.store.sqlite.start import sync_folder
from backup_sharing.store.sqlite.writer import Writer
from backup_sharing.store.unusable import FailingDatabase

T = TypeVar("T")

_PING_WITHIN: Final = 0.8
"""Seconds that a ping may take: the second of `Store.ping`, less the time for the reply."""

_BATCH_SECONDS: Final = 1.0
"""Maximum seconds of a batch on a working disk. A change waits for the batch before its own, and then for its own; each
of the two may wait for the lock of another process."""


class SqliteEngine:
    """A `backup_sharing.store.engine.Engine` on a file in an existing folder; a missing file is created."""

    reads: Reads = reads
    writers = 1
    name: str = "sqlite"
    version: str = sqlite3.sqlite_version

    def __init__(
        self,
        path: Path | str,
        *,
        read_threads: int = 2,
        clock: Callable[[], Micros] = system_clock,
        busy_timeout: float = 5.0,
        log_bounds: LogBounds | None = None,
        known: Sequence[Migration] = MIGRATIONS,
        every: bool = False,
        observer: StoreObserver | None = None,
    ) -> None:
        """Use the file at ``path``, on the running event loop; the first `look` opens the file.

        ``read_threads``: number of concurrent reads.
        ``clock``: tells the time at which sharings end.
        ``busy_timeout``: seconds to wait for other processes before a call raises `Unavailable`.
        ``log_bounds``: limits of the size of the write-ahead log; None: the measured optimum.
        ``known``: migrations that the program needs.
        ``every``: whether to migrate tables of an older version.
        ``observer``: receives measurements.
        """
        self._path = Path(path)
        self._read_threads = read_threads
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._log_bounds = log_bounds
        self._known = known
        self._observer = observer
        self._every = every
        self._breakdown = Breakdown()
        self._parts: Parts | None = None
        self._kept: sqlite3.Connection | None = None
        """Connection of the first failed attempt to open the file: see `FailingDatabase.kept`."""
        self.patience = 2 * busy_timeout + _BATCH_SECONDS

    @property
    def failed(self) -> asyncio.Event:
        """Set when a sync or a commit failed on the disk; then nothing may be closed before the process ends."""
        return self._breakdown.happened

    @property
    def parts(self) -> Parts:
        """The parts that work on the open file; raises `Unavailable` before the file is open."""
        if self._parts is None:
            raise Unavailable("The store is not open.")
        return self._parts

    async def look(self) -> Sequence[str]:
        """Open the file if it is not open; return the pending migrations.

        Raises UnusableDatabase if the file is no database, cannot be written, or was made by a newer version of this
        program; FailingDatabase while its disk fails.
        """
        if self._parts is None:
            try:
                await self._open()
            except FailingDatabase as failing:
                self._keep(failing.kept)
                raise
        status = await asyncio.to_thread(file.look, self._path, busy_timeout=self._busy_timeout, known=self._known)
        return status.pending

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make changes in one transaction, and settle each of them; no change is returned for a retry."""
        self._breakdown.check()
        await self.parts.writer.commit(batch)
        return ()

    async def query(self, query: Query[T]) -> T:
        """Return the result of a query, run in one of the reader threads."""
        self._breakdown.check()

        def ask(connection: sqlite3.Connection) -> T:
            rows = connection.execute(query.statement, {**query.parameters, "now": self._clock()})
            try:
                return query.answer(rows)
            finally:
                rows.close()

        return await self.parts.readers.read(ask)

    async def ping(self) -> None:
        """See `Store.ping`; independent of the queues of reads and changes."""
        self._breakdown.check()
        await self.parts.probe.look(_PING_WITHIN)

    def readings(self) -> SqliteReadings | None:
        """Return the state of the log and of its checkpoints; None before the file is open."""
        if self._parts is None:
            return None
        checkpointer = self._parts.checkpointer
        return SqliteReadings(checkpointer.in_use, dict(checkpointer.outcomes), checkpointer.seconds)

    def stop(self) -> None:
        """Begin no more queries and batches; running ones continue."""
        if self._parts is not None:
            self._parts.writer.stop()
            self._parts.readers.stop()
            self._parts.probe.stop()

    async def close(self) -> None:
        """Close the file. After a breakdown, or if the file could never be opened, close nothing.

        SQLite would copy doubtful data into the database when the last connection is closed.
        """
        self.stop()
        if self._parts is not None:
            await asyncio.to_thread(self._close, self._parts)
        elif self._kept is not None:
            self.failed.set()

    async def _open(self) -> None:
        make_ready = file.migrate if self._every else file.prepare
        await asyncio.to_thread(make_ready, self._path, busy_timeout=self._busy_timeout, known=self._known)
        connections = await asyncio.to_thread(_connect, self._path, self._read_threads, self._busy_timeout)
        self._parts = Parts(
            connections,
            self._path,
            self._busy_timeout,
            self._log_bounds,
            self._breakdown,
            self._clock,
            self._observer,
        )
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _keep(self, connection: sqlite3.Connection | None) -> None:
        """Keep the first connection, so that the other connections are never the last one when they are closed."""
        if self._kept is None:
            self._kept = connection
        elif connection is not None:
            connection.close()

    def _close(self, parts: Parts) -> None:
        if not self._breakdown.is_here:
            parts.probe.close()
            parts.readers.close()
            parts.writer.close()
        if not self._breakdown.is_here:
            parts.checkpointer.close()


class Parts:
    """The parts that work on an open file, each with its own connections; a breakdown stops all of them."""

    def __init__(
        self,
        connections: Sequence[sqlite3.Connection],
        path: Path,
        busy_timeout: float,
        log_bounds: LogBounds | None,
        breakdown: Breakdown,
        clock: Callable[[], Micros],
        observer: StoreObserver | None,
    ) -> None:
        """Take over the connections of `_connect`."""
        writing, probing, copying, guard, *reading = connections
        self.checkpointer = Checkpointer(copying, guard, path, breakdown.report, log_bounds)
        self.writer = Writer(
            writing,
            busy_timeout=busy_timeout,
            clock=clock,
            after_batch=self.checkpointer.after_batch,
            breakdown=breakdown.report,
            observer=observer,
        )
        self.readers = Readers(reading)
        self.probe = Probe(probing, self.writer)
        breakdown.stops(self.writer.stop, self.checkpointer.stop, self.readers.stop, self.probe.stop)


def _connect(path: Path, read_threads: int, busy_timeout: float) -> list[sqlite3.Connection]:
    """Open the connections of the writer, the probe, the checkpointer, its guard and the readers, in this order.

    Raises UnusableDatabase.
    """
    with ExitStack() as opened:
        try:
            connections: list[sqlite3.Connection] = []
            for _ in range(2):
                connections.append(connect_to_write(path, busy_timeout=busy_timeout))
                opened.callback(connections[-1].close)
            connections.append(connect(path, busy_timeout=busy_timeout))
            opened.callback(connections[-1].close)
            for _ in range(1 + read_threads):
                connections.append(connect(path, busy_timeout=busy_timeout, query_only=True))
                opened.callback(connections[-1].close)
            connections[0].execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # creates the log file
            sync_folder(path.absolute().parent)
        except sqlite3.Error as error:
            raise file.unusable(path, error) from error
        except OSError as error:
            raise FailingDatabase(path, f"its folder cannot be synced: {error.strerror}") from error
        opened.pop_all()
        return connections
