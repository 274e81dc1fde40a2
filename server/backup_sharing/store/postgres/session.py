"""The connection over which a writer changes data: opened on demand, and again after it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from backup_sharing.store.observing.observer import StoreObserver
from backup_sharing.store.postgres.changes import CLAIM
from backup_sharing.store.postgres.connection import Connection, break_off, is_alive, within
from backup_sharing.store.postgres.faults import is_gone, is_timeout, log_fault
from backup_sharing.store.postgres.pooling import alone

_log = logging.getLogger(__name__)

CONNECT_AGAIN: Final = (0.05, 0.5)
"""Seconds between attempts to connect: the first time, and the maximum."""
_REPEAT_AFTER: Final = 0.05
"""Seconds before the query for a fate is repeated after a failure."""
_LONG_IN_DOUBT: Final = 1.0
"""Seconds after which an unknown fate makes the store not ready."""
_NOT_REPLICATED: Final = "SyncRepWaitForLSN"
"""Source of PostgreSQL's warning that an acknowledged commit is on none of its synchronous standbys."""

_FAULTS: Final = (psycopg.Error, OSError)


class Session:
    """A connection, and the state of the transactions made over it."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], seconds: float, observer: StoreObserver | None = None
    ) -> None:
        """Connect with ``connect``; a server that is silent for ``seconds`` counts as gone.

        ``observer`` is told how long round trips took.
        """
        self._observer = observer
        self._connect = connect
        self._seconds = seconds
        self._connection: Connection | None = None
        self._can_be_reached = True
        self._is_doubtful = False
        self._in_doubt_since: float | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Whether the fate of a transaction has been unknown for longer than a new connection takes."""
        since = self._in_doubt_since
        return since is not None and time.monotonic() - since > _LONG_IN_DOUBT

    async def opened(self, is_wanted: Callable[[], bool]) -> Connection | None:
        """Return the connection, opened if necessary; None once ``is_wanted`` is false."""
        pause, longest = CONNECT_AGAIN
        while is_wanted():
            if self._connection is not None and is_alive(self._connection):
                return self._connection
            await self.close()
            try:
                self._connection = await self._connect()
            except _FAULTS as error:
                if self._can_be_reached:
                    _log.error("the database cannot be reached; retrying", exc_info=error)
                self._can_be_reached = False
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- no secret
                pause = min(2 * pause, longest)
            else:
                self._connection.add_notice_handler(self._noticed)
                if not self._can_be_reached:
                    _log.info("the database can be reached again")
                self._can_be_reached = True
        return None

    @contextmanager
    def answering(self, connection: Connection) -> Iterator[None]:
        """Treat a server that is silent for too long as gone."""
        began = time.monotonic()
        try:
            with within(connection, self._seconds):
                yield
        finally:
            if self._observer is not None:
                self._observer.round_trip("write", time.monotonic() - began)

    async def is_committed(self, connection: Connection, write: Callable[[], Awaitable[None]]) -> bool:
        """Write a transaction; return whether it was certainly committed: see `fate_of` if not.

        Raises psycopg.Error or UnicodeError: nothing of it is stored.
        """
        self._is_doubtful = False
        try:
            with self.answering(connection):
                await write()
        except _FAULTS as error:
            if not is_gone(error) and not connection.closed:
                raise
            return False
        return not self._is_doubtful

    async def fate_of(self, mark: str, is_wanted: Callable[[], bool]) -> bool | None:
        """Find out whether a transaction was committed; if not, prevent its commit. None once ``is_wanted`` is false.

        The query is repeated until the fate is known: no other transaction may begin while this one may still hold
        locks.
        """
        await self.close()
        self._in_doubt_since = time.monotonic()
        try:
            return await self._query_fate(mark, is_wanted)
        finally:
            self._in_doubt_since = None

    async def _query_fate(self, mark: str, is_wanted: Callable[[], bool]) -> bool | None:
        while connection := await self.opened(is_wanted):
            self._is_doubtful = False
            try:
                with self.answering(connection):
                    rows = await (await alone(connection, CLAIM, (mark,))).fetchall()
            except _FAULTS as error:
                if is_gone(error) or connection.closed:
                    await self.close()
                elif not is_timeout(error):
                    log_fault(error)
                await asyncio.sleep(_REPEAT_AFTER)
                continue
            if not self._is_doubtful:
                return rows != [(True,)]
        return None

    async def end(self) -> None:
        """Commit a transaction that changed nothing: after a rollback, the driver would prepare everything again."""
        connection = self._connection
        if connection is None:
            return
        try:
            with self.answering(connection):
                await connection.execute("COMMIT", prepare=False)
        except _FAULTS:
            await self.close()

    async def roll_back(self) -> None:
        """Roll back the transaction, if one was begun."""
        connection = self._connection
        if connection is None:
            return
        try:
            # Not as a statement: only this makes the driver forget the statements that it planned to prepare after the
            # failed one.
            with self.answering(connection):
                await connection.rollback()
        except _FAULTS:
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def break_off(self) -> None:
        """Make every user of the connection see it broken."""
        if self._connection is not None:
            break_off(self._connection)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        self._is_doubtful = self._is_doubtful or notice.source_function == _NOT_REPLICATED
