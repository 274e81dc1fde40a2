"""What makes changes in PostgreSQL: takes everything that waits as one batch, and answers after the commit.

A lane is a connection and the task that works on it. Nothing waits for a lock: changes whose backup
somebody else is changing are put aside, and tried again a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Final, cast

import psycopg

from server.store.decisions import decide_all, needs_of
from server.store.interface import Share
from server.store.outcome import NotMade, Outcome
from server.store.postgres_changes import CLAIM, Known, write
from server.store.postgres_connection import (
    Connection,
    failure_of,
    is_contended,
    is_gone,
    is_timeout,
    log_fault,
)
from server.store.postgres_queue import Phase, Queue, Waiting
from server.store.postgres_shares import Assumed, can_be_assumed, is_not_as_assumed

_log = logging.getLogger(__name__)

CONNECT_AGAIN: Final = (0.05, 1.0)
"""Seconds between two tries to reach the database: the first, and the most that it grows to."""
_TRY_AGAIN: Final = (0.001, 0.05)
"""Seconds until changes are tried again that met with others: the first, and the most."""
_MOST_TRIES: Final = 20
"""Of one transaction; one that still meets with others then does so for another reason."""
_READ_FIRST: Final = 8
"""Transactions that read first after one that found something in its way."""
_CLOSE_WITHIN: Final = 5.0
"""Seconds that close waits for what is being committed, beyond the time that its callers have."""


class _Fate(Enum):
    """What is known of a transaction whose connection broke."""

    COMMITTED = "committed"
    NOT_COMMITTED = "not committed"
    NOBODY_WAITS = "nobody waits"


class Lane:
    """One connection that changes data. Opens it when it is needed, and again when it breaks."""

    def __init__(self, queue: Queue, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._queue = queue
        self._connect = connect
        self._connection: Connection | None = None
        self._unmarked: str | None = None
        self._can_be_reached = True
        self._to_read_first = 0
        """How many transactions assume nothing."""

    async def run(self) -> None:
        """Make changes until the queue is stopped."""
        try:
            while batch := await self._queue.take():
                try:
                    await self._make(batch)
                except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the lane
                    _log.exception("a batch of changes ended in a defect")
                    await self._disconnect()
                    for waiting in batch:
                        waiting.fail(error)
        finally:
            await self._disconnect()

    async def _make(self, batch: Sequence[Waiting]) -> None:
        """Have all that are still wanted made, or put aside, or failed."""
        tries = 0
        while wanted := [waiting for waiting in batch if not waiting.is_given_up]:
            connection = await self._connected(wanted)
            if connection is None:
                return
            try:
                if await self._transaction(connection, wanted):
                    return
            except (psycopg.Error, OSError, UnicodeError) as error:
                tries += 1
                if is_gone(error):
                    await self._disconnect()
                elif (is_contended(error) and tries < _MOST_TRIES) or is_timeout(error):
                    await self._roll_back()
                    await asyncio.sleep(random.uniform(0, _TRY_AGAIN[1]))  # noqa: S311 -- no secret
                elif len(wanted) == 1:
                    await self._roll_back()
                    log_fault(error)
                    wanted[0].fail(failure_of(error))
                else:
                    # One that fails must not touch the others: each by itself.
                    await self._roll_back()
                    for waiting in wanted:
                        await self._make([waiting])
                    return

    async def _transaction(self, connection: Connection, batch: Sequence[Waiting]) -> bool:
        """Make a batch in one transaction; False if it has to be tried again. Raises psycopg.Error: nothing is made."""
        if self._to_read_first == 0 and can_be_assumed(waiting.command for waiting in batch):
            assumed = Assumed([cast("Share", waiting.command) for waiting in batch])
            if assumed.can_be_told:
                return await self._assume(connection, batch, assumed)
        self._to_read_first = max(self._to_read_first - 1, 0)
        return await self._read_first(connection, batch)

    async def _assume(self, connection: Connection, batch: Sequence[Waiting], assumed: Assumed) -> bool:
        """Make shares without knowing anything; False if something was in the way."""
        left = min(waiting.late_at for waiting in batch) - time.monotonic()
        try:
            made = await self._commit(batch, lambda mark, gone: assumed.write(connection, mark, gone, left))
        except psycopg.Error as error:
            if not is_not_as_assumed(error):
                raise
            await self._roll_back()
            # Where one is in the way there are more.
            self._to_read_first = _READ_FIRST
            return False
        if made:
            _deliver(batch, assumed.outcomes)
        return made

    async def _read_first(self, connection: Connection, batch: Sequence[Waiting]) -> bool:
        """Make changes with what they need to know; False if they have to be tried again."""
        known = Known()
        await known.read(connection, needs_of(waiting.command for waiting in batch))
        ready = [waiting for waiting in batch if not known.is_busy(waiting.command)]
        outcomes = decide_all(known.state, (waiting.command for waiting in ready))
        edits = known.state.edits
        if any(waiting.is_given_up for waiting in ready) and edits:
            await self._roll_back()
            return False
        if edits and not await self._commit(
            ready, lambda mark, gone: write(connection, edits, known.state, mark, gone)
        ):
            return False
        _deliver(ready, outcomes)
        self._put_aside([waiting for waiting in batch if waiting not in ready])
        if not edits:
            await self._roll_back()
        return True

    async def _commit(self, batch: Sequence[Waiting], write: Callable[[str, str | None], Awaitable[None]]) -> bool:
        """Have a transaction written and committed; False if it was lost on the way, and can be made again."""
        mark = str(uuid.uuid4())
        for waiting in batch:
            waiting.phase = Phase.COMMITTING
        try:
            await write(mark, self._unmarked)
        except (psycopg.Error, OSError) as error:
            if not is_gone(error):
                _reopen(batch)
                raise
            return await self._was_committed(mark, batch)
        self._unmarked = mark
        return True

    async def _was_committed(self, mark: str, batch: Sequence[Waiting]) -> bool:
        """Find out what became of a transaction whose connection broke; False: it can be tried again."""
        await self._disconnect()
        fate = await self._fate_of(mark, batch)
        if fate is _Fate.NOT_COMMITTED:
            _reopen(batch)
        return fate is _Fate.COMMITTED

    async def _fate_of(self, mark: str, batch: Sequence[Waiting]) -> _Fate:
        while connection := await self._connected(batch):
            try:
                claimed = await (await connection.execute(CLAIM, (mark,))).fetchone()
            except (psycopg.Error, OSError) as error:
                if is_gone(error):
                    await self._disconnect()
                else:
                    log_fault(error)
                    await asyncio.sleep(_TRY_AGAIN[1])
                continue
            self._unmarked = mark
            return _Fate.COMMITTED if claimed is None else _Fate.NOT_COMMITTED
        return _Fate.NOBODY_WAITS

    async def _connected(self, batch: Sequence[Waiting]) -> Connection | None:
        """The connection, opened if it has to be; None if nobody waits any more."""
        pause, longest = CONNECT_AGAIN
        while not all(waiting.is_given_up for waiting in batch):
            if self._connection is not None and not self._connection.closed:
                return self._connection
            try:
                self._connection = await self._connect()
            except (psycopg.Error, OSError) as error:
                if self._can_be_reached:
                    _log.error("the database cannot be reached; it is tried again and again", exc_info=error)
                self._can_be_reached = False
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                if not self._can_be_reached:
                    _log.info("the database can be reached again")
                self._can_be_reached = True
        return None

    async def _roll_back(self) -> None:
        if self._connection is None:
            return
        try:
            if self._connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await self._connection.execute("ROLLBACK")
        except (psycopg.Error, OSError):
            await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _put_aside(self, busy: Sequence[Waiting]) -> None:
        shortest, longest = _TRY_AGAIN
        for waiting in busy:
            waiting.pause = min(max(2 * waiting.pause, shortest), longest)
            self._queue.put_aside([waiting], random.uniform(waiting.pause / 2, waiting.pause))  # noqa: S311 -- no secret


class Writer:
    """Makes changes on some lanes at once."""

    def __init__(self, queue: Queue, lanes: Sequence[Lane], patience: float) -> None:
        self._queue = queue
        self._patience = patience
        self._tasks = [asyncio.create_task(lane.run()) for lane in lanes]

    async def close(self) -> None:
        """Take no more changes, finish what is being committed, and let go of the database."""
        self._queue.stop()
        await asyncio.wait(self._tasks, timeout=self._patience + _CLOSE_WITHIN)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _deliver(batch: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, NotMade):
            waiting.fail(outcome.failure)
        else:
            waiting.answer(outcome.answer)


def _reopen(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        waiting.reopen()
