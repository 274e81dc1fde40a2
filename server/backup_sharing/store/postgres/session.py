"""The connection that a lane changes data over: opened when it is needed, and again when it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from backup_sharing.store.postgres.changes import CLAIM
from backup_sharing.store.postgres.connection import Connection, break_off, is_alive, within
from backup_sharing.store.postgres.faults import is_gone, is_timeout, log_fault

_log = logging.getLogger(__name__)

CONNECT_AGAIN: Final = (0.05, 0.5)
"""Seconds between two tries to reach the database: the first, and the most that it grows to."""
_ASK_AGAIN: Final = 0.05
"""Seconds until a question is asked again that was not answered."""
_LONG_IN_DOUBT: Final = 1.0
"""Seconds after which a fate that is not known keeps the store from being ready."""
_NOT_REPLICATED: Final = "SyncRepWaitForLSN"
"""Where PostgreSQL warns that a commit it acknowledges is on none of the standbys that commits wait for."""

_FAULTS: Final = (psycopg.Error, OSError)


class Session:
    """A connection, and what is known of the transactions that were made over it."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], seconds: float) -> None:
        """Connect with ``connect``; a server that says nothing for ``seconds`` counts as gone."""
        self._connect = connect
        self._seconds = seconds
        self._connection: Connection | None = None
        self._can_be_reached = True
        self._is_doubtful = False
        self._in_doubt_since: float | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Whether the fate of a transaction is asked for, for longer than a new connection takes."""
        since = self._in_doubt_since
        return since is not None and time.monotonic() - since > _LONG_IN_DOUBT

    async def opened(self, is_wanted: Callable[[], bool]) -> Connection | None:
        """The connection, opened if it has to be; None as soon as none is wanted."""
        pause, longest = CONNECT_AGAIN
        while is_wanted():
            if self._connection is not None and is_alive(self._connection):
                return self._connection
            await self.close()
            try:
                self._connection = await self._connect()
            except _FAULTS as error:
                if self._can_be_reached:
                    _log.error("the database cannot be reached; it is tried again and again", exc_info=error)
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
        """Take a server that says nothing for too long for gone."""
        with within(connection, self._seconds):
            yield

    async def is_committed(self, connection: Connection, write: Callable[[], Awaitable[None]]) -> bool:
        """Have a transaction written; answers whether it was committed for sure: see `fate_of` where it was not.

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
        """Find out whether a transaction was committed; if not, it cannot be any more. None if nobody wants to know.

        It is asked until it is known: no other transaction may be begun while this one may still hold locks.
        """
        await self.close()
        self._in_doubt_since = time.monotonic()
        try:
            return await self._asked_for(mark, is_wanted)
        finally:
            self._in_doubt_since = None

    async def _asked_for(self, mark: str, is_wanted: Callable[[], bool]) -> bool | None:
        while connection := await self.opened(is_wanted):
            self._is_doubtful = False
            try:
                with self.answering(connection):
                    rows = await (await connection.execute(CLAIM, (mark,))).fetchall()
            except _FAULTS as error:
                if is_gone(error) or connection.closed:
                    await self.close()
                elif not is_timeout(error):
                    log_fault(error)
                await asyncio.sleep(_ASK_AGAIN)
                continue
            if not self._is_doubtful:
                return rows != [(True,)]
        return None

    async def end(self) -> None:
        """Leave a transaction that changed nothing: to roll it back would have the driver prepare everything anew."""
        connection = self._connection
        if connection is None:
            return
        try:
            with self.answering(connection):
                await connection.execute("COMMIT", prepare=False)
        except _FAULTS:
            await self.close()

    async def roll_back(self) -> None:
        """Leave the transaction, if one was begun."""
        connection = self._connection
        if connection is None:
            return
        try:
            # Not as a statement: only so does the driver forget what it would have prepared behind the one that failed.
            with self.answering(connection):
                await connection.rollback()
        except _FAULTS:
            await self.close()

    async def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def break_off(self) -> None:
        """Have whoever uses the connection see it broken."""
        if self._connection is not None:
            break_off(self._connection)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        self._is_doubtful = self._is_doubtful or notice.source_function == _NOT_REPLICATED
