"""Commits of changes in PostgreSQL: one batch at a time over one connection, answered after the commit.

No change waits for a lock: changes of a backup that others are changing are put aside, for a retry a moment later.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

import psycopg

from backup_sharing.model import Micros
from backup_sharing.rules.assumed import Assumptions, can_be_assumed
from backup_sharing.rules.commands import Share
from backup_sharing.rules.decisions import decide_all, needs_of
from backup_sharing.rules.outcome import Outcome
from backup_sharing.store.change import Change, times_of
from backup_sharing.store.observing.observer import StoreObserver
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
from backup_sharing.store.postgres.shares import Assumed, is_not_as_assumed
from backup_sharing.store.waiter import claim

_RETRY_AFTER: Final = 0.001
"""Maximum seconds before conflicting changes are retried together."""
_RETRY_AFTER_LOSS: Final = 0.05
"""Maximum seconds before changes are retried over a new connection."""
_TRIES_TOGETHER: Final = 2
"""Maximum attempts of a conflicting batch; then each of its changes is tried alone."""
_MOST_TRIES: Final = 20
"""Maximum attempts of one change; a conflict that remains then has another cause."""

_MARKS_KEPT: Final = 32
"""Number of obsolete marks that are deleted together."""

_Write = Callable[[str, Sequence[str], float], Awaitable[None]]
"""Writes and commits under the id of a mark, deletes obsolete marks, all within some seconds."""


class Writer:
    """One connection that changes data, for one batch at a time."""

    def __init__(
        self,
        session: Session,
        now: Callable[[], Micros | None] = lambda: None,
        observer: StoreObserver | None = None,
    ) -> None:
        """Use a session; ``now`` returns the time at which sharings end, None for the time of the database.

        ``observer`` is told how long batches took.
        """
        self._observer = observer
        self._commit_seconds = 0.0
        """Seconds of the commits of the running batch."""
        self._session = session
        self._now = now
        self._busy: list[Change] = []
        """Changes of the running batch that others block."""
        self._stopped = False
        self._marks: list[str] = []
        """Marks of transactions that nobody will look up any more."""
        self._assumptions = Assumptions()

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make or fail all wanted changes; return the blocked changes, for a retry."""
        self._busy, self._commit_seconds, began = [], 0.0, time.monotonic()
        try:
            await self._make(batch)
        except BaseException:
            await self._session.close()
            raise
        finally:
            if self._observer is not None:
                commit = self._commit_seconds
                self._observer.batch_ended(len(batch), time.monotonic() - began - commit, commit or None)
        return self._busy

    def stop(self) -> None:
        """Ask for the fate of a transaction only while its callers wait for it."""
        self._stopped = True

    def break_off(self) -> None:
        """Make the running work fail as if the server were gone."""
        self._session.break_off()

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    @property
    def is_stuck(self) -> bool:
        """Whether no change is possible, as the fate of an earlier change is unknown."""
        return self._session.is_in_doubt

    async def _make(self, batch: Sequence[Change]) -> None:
        """Make, put aside or fail all wanted changes."""
        tries = 0
        while wanted := [change for change in batch if not change.is_given_up]:
            connection = await self._session.opened(lambda: not _all_given_up(batch))
            if connection is None:
                return
            times_of(batch).locked = time.perf_counter()
            try:
                if await self._transaction(connection, wanted):
                    return
            except FAULTS as error:
                if is_gone(error) or connection.closed:
                    await self._session.close()
                    await asyncio.sleep(_pause(_RETRY_AFTER_LOSS))
                    continue
                await self._session.roll_back()
                tries += 1
                if (is_contended(error) or is_timeout(error)) and tries < _TRIES_TOGETHER:
                    await asyncio.sleep(_pause(_RETRY_AFTER))
                else:
                    await self._fail(wanted, error)
                    return

    async def _fail(self, batch: Sequence[Change], error: BaseException) -> None:
        """Fail the changes that cause the error; several changes are tried one by one to find them."""
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
        """Fail a change that was tried alone, or put it aside if a retry may succeed."""
        change.tries += 1
        if is_timeout(error) or (is_contended(error) and change.tries < _MOST_TRIES):
            self._busy.append(change)
        else:
            log_fault(error)
            change.fail(failure_of(error))

    async def _transaction(self, connection: Connection, batch: Sequence[Change]) -> bool:
        """Make a batch in one transaction; return False for a retry. Raises psycopg.Error: nothing is made."""
        are_likely = self._assumptions.are_likely and not batch[0].pause
        if are_likely and can_be_assumed(change.command for change in batch):
            assumed = Assumed([cast("Share", change.command) for change in batch], self._now())
            if assumed.have_succeeded:
                return await self._assume(connection, batch, assumed)
        self._assumptions.were_not_made()
        return await self._read_first(connection, batch)

    async def _assume(self, connection: Connection, batch: Sequence[Change], assumed: Assumed) -> bool:
        """Make shares on assumptions; return False if one was wrong."""
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
            self._assumptions.were_wrong()
            return False
        if made:
            _deliver(batch, assumed.outcomes)
        return made

    async def _read_first(self, connection: Connection, batch: Sequence[Change]) -> bool:
        """Make changes after reading the data they need; return False for a retry."""
        known, began = Known(), time.monotonic()
        with self._session.answering(connection):
            await known.read(connection, needs_of(change.command for change in batch), self._now())
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
        """Commit a transaction that began at ``began``; return False if it is not committed and can be made again."""
        if any(change.is_given_up for change in batch) or not claim(batch):
            return False
        times = times_of(batch)
        times.decided = time.perf_counter()
        mark, seconds = str(uuid.uuid4()), min(change.late_at for change in batch) - began
        unmarked = self._marks if len(self._marks) >= _MARKS_KEPT else []
        begins = time.monotonic()
        try:
            committed = await self._session.is_committed(connection, lambda: write(mark, unmarked, seconds))
            times.committed = time.perf_counter()
        except FAULTS:
            _reopen(batch)
            raise
        finally:
            self._commit_seconds += time.monotonic() - begins
        if not committed:
            fate = await self._session.fate_of(mark, lambda: not self._stopped or not _all_given_up(batch))
            if not fate:
                # The mark of a claim stays: the transaction may still be on its way to the server.
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
