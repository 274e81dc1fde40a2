"""What makes changes in PostgreSQL: one batch at a time over one connection, answered after the commit.

Nothing waits for a lock: changes whose backup somebody else is changing are left, to come again a moment later.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

import psycopg

from backup_sharing.rules.commands import Share
from backup_sharing.rules.decisions import decide_all, needs_of
from backup_sharing.rules.outcome import Outcome
from backup_sharing.store.change import Change
from backup_sharing.store.postgres.changes import Known, write
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.faults import (
    FAULTS,
    failure_of,
    is_contended,
    is_gone,
    is_shortage,
    is_timeout,
    log_fault,
)
from backup_sharing.store.postgres.session import Session
from backup_sharing.store.postgres.shares import Assumed, can_be_assumed, is_not_as_assumed
from backup_sharing.store.waiter import claim

_TRY_AGAIN: Final = (0.001, 0.05)
"""Seconds until changes are tried again that met with others: the first, and the most."""
_TRIES_TOGETHER: Final = 2
"""Of a batch that meets with others; then each of its changes is tried by itself."""
_MOST_TRIES: Final = 20
"""Of one change; one that still meets with others then does so for another reason."""
_READ_FIRST: Final = 8
"""Transactions that read first after one that found something in its way."""

_MARKS_KEPT: Final = 32
"""Marks that are not needed any more are removed so many at once."""

_Write = Callable[[str, Sequence[str], float], Awaitable[None]]
"""Writes and commits what is known by an id, removes others, within some seconds."""


class Lane:
    """One connection that changes data, for one batch at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._busy: list[Change] = []
        """Those of the batch under way that others keep from being made."""
        self._stopped = False
        self._marks: list[str] = []
        """Of transactions about which nobody will ask any more."""
        self._to_read_first = 0
        """How many transactions assume nothing."""

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Have all that are still wanted made or failed; answers those that met with others, and are to come again."""
        self._busy = []
        try:
            await self._make(batch)
        except BaseException:
            await self._session.close()
            raise
        return self._busy

    def stop(self) -> None:
        """Ask for the fate of a transaction only as long as its callers wait for it."""
        self._stopped = True

    def break_off(self) -> None:
        """Have what is being done fail as if the server were gone."""
        self._session.break_off()

    async def close(self) -> None:
        """Let the connection go."""
        await self._session.close()

    @property
    def is_stuck(self) -> bool:
        """Whether nothing can be changed, as nobody says what became of an earlier change."""
        return self._session.is_in_doubt

    async def _make(self, batch: Sequence[Change]) -> None:
        """Have all that are still wanted made, or put aside, or failed."""
        tries = 0
        while wanted := [change for change in batch if not change.is_given_up]:
            connection = await self._session.opened(lambda: not _all_given_up(batch))
            if connection is None:
                return
            try:
                if await self._transaction(connection, wanted):
                    return
            except FAULTS as error:
                if is_gone(error) or connection.closed:
                    await self._session.close()
                    await asyncio.sleep(_pause(_TRY_AGAIN[1]))
                    continue
                await self._session.roll_back()
                tries += 1
                if (is_contended(error) or is_timeout(error)) and tries < _TRIES_TOGETHER:
                    await asyncio.sleep(_pause(_TRY_AGAIN[0]))
                else:
                    await self._fail(wanted, error)
                    return

    async def _fail(self, batch: Sequence[Change], error: BaseException) -> None:
        """Fail changes, but only those that the error is about."""
        if is_shortage(error):
            log_fault(error)
            for change in batch:
                change.fail(failure_of(error))
        elif len(batch) == 1:
            self._fail_one(batch[0], error)
        else:
            for change in batch:
                await self._make([change])

    def _fail_one(self, change: Change, error: BaseException) -> None:
        """Fail a change that was tried by itself, or put it aside if it may go well later."""
        change.tries += 1
        if is_timeout(error) or (is_contended(error) and change.tries < _MOST_TRIES):
            self._busy.append(change)
        else:
            log_fault(error)
            change.fail(failure_of(error))

    async def _transaction(self, connection: Connection, batch: Sequence[Change]) -> bool:
        """Make a batch in one transaction; False if it has to be tried again. Raises psycopg.Error: nothing is made."""
        if not self._to_read_first and can_be_assumed(change.command for change in batch) and not batch[0].pause:
            assumed = Assumed([cast("Share", change.command) for change in batch])
            if assumed.can_be_told:
                return await self._assume(connection, batch, assumed)
        self._to_read_first = max(self._to_read_first - 1, 0)
        return await self._read_first(connection, batch)

    async def _assume(self, connection: Connection, batch: Sequence[Change], assumed: Assumed) -> bool:
        """Make shares without knowing anything; False if something was in the way."""
        try:
            made = await self._commit(
                connection,
                batch,
                lambda mark, unmarked, seconds: assumed.write(connection, mark, unmarked, seconds),
                time.monotonic(),
            )
        except psycopg.Error as error:
            if not is_not_as_assumed(error):
                raise
            await self._session.roll_back()
            # Where one is in the way there are more.
            self._to_read_first = _READ_FIRST
            return False
        if made:
            _deliver(batch, assumed.outcomes)
        return made

    async def _read_first(self, connection: Connection, batch: Sequence[Change]) -> bool:
        """Make changes with what they need to know; False if they have to be tried again."""
        known, began = Known(), time.monotonic()
        with self._session.answering(connection):
            await known.read(connection, needs_of(change.command for change in batch))
        ready = [change for change in batch if not known.is_busy(change.command)]
        outcomes = decide_all(known.state, (change.command for change in ready))
        edits = known.state.edits
        if edits and not await self._commit(
            connection,
            ready,
            lambda mark, unmarked, seconds: write(connection, edits, known.state, mark, unmarked, seconds),
            began,
        ):
            await self._session.roll_back()
            return False
        _deliver(ready, outcomes)
        self._busy += [change for change in batch if known.is_busy(change.command)]
        if not edits:
            await self._session.end()
        return True

    async def _commit(self, connection: Connection, batch: Sequence[Change], write: _Write, began: float) -> bool:
        """Have a transaction, begun at some time, committed; False if it is not, and can be made again."""
        if any(change.is_given_up for change in batch) or not claim(batch):
            return False
        mark, seconds = str(uuid.uuid4()), min(change.late_at for change in batch) - began
        unmarked = self._marks if len(self._marks) >= _MARKS_KEPT else []
        try:
            committed = await self._session.is_committed(connection, lambda: write(mark, unmarked, seconds))
        except FAULTS:
            _reopen(batch)
            raise
        if not committed:
            fate = await self._session.fate_of(mark, lambda: not self._stopped or not _all_given_up(batch))
            if not fate:
                # Of a claim the mark stays: what was sent may still be on its way.
                _reopen(batch) if fate is False else None
                return False
        self._marks = [mark] if unmarked else [*self._marks, mark]
        return True


def _pause(longest: float) -> float:
    return random.uniform(longest / 2, longest)  # noqa: S311 -- no secret


def _all_given_up(batch: Sequence[Change]) -> bool:
    return all(change.is_given_up for change in batch)


def _deliver(batch: Sequence[Change], outcomes: Sequence[Outcome]) -> None:
    for change, outcome in zip(batch, outcomes, strict=True):
        change.settle(outcome)


def _reopen(batch: Sequence[Change]) -> None:
    for change in batch:
        change.reopen()
