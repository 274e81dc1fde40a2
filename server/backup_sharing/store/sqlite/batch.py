"""Many changes in one transaction, so that they share one commit to the disk.

Shares are first made on assumptions. If one is wrong, or for other changes, all are made as if none could fail. If one
fails, everything is rolled back and made again with a savepoint before each change: a failing change never affects the
others.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from backup_sharing.errors import OutcomeUnknown, Unavailable
from backup_sharing.model import Micros
from backup_sharing.rules.assumed import Assumptions, can_be_assumed
from backup_sharing.rules.commands import Share
from backup_sharing.rules.outcome import Failed, Outcome, Succeeded
from backup_sharing.store.change import Change, times_of
from backup_sharing.store.sqlite.changes import make, make_on_assumptions
from backup_sharing.store.sqlite.commit import Commits, CommitUnknown
from backup_sharing.store.sqlite.connection import failure_of, is_failed_sync, lock_to_write, log_fault
from backup_sharing.store.waiter import claim

_log = logging.getLogger(__name__)


def carry_out(
    connection: sqlite3.Connection,
    changes: Sequence[Change],
    busy_timeout: float,
    commits: Commits,
    clock: Callable[[], Micros],
    assumptions: Assumptions,
) -> Mapping[Change, Outcome]:
    """Make the changes in order in one transaction; return when it is on the disk.

    ``clock`` decides which sharings are due, ``assumptions`` how shares are made. Waits up to ``busy_timeout`` seconds
    for the write lock. Returns the outcome of each change, except for changes that were given up before the commit or
    were late for it. Raises no error of SQLite.
    """
    batch = _Batch(connection, changes, commits, clock, assumptions)
    try:
        batch.run(time.monotonic() + busy_timeout)
    except sqlite3.Error as error:
        batch.fail_all(error)
    return batch.outcomes


class _Batch:
    """One batch on its way to a commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        changes: Sequence[Change],
        commits: Commits,
        clock: Callable[[], Micros],
        assumptions: Assumptions,
    ) -> None:
        self._connection = connection
        self._commits = commits
        self._clock = clock
        self._assumptions = assumptions
        self._waiting = list(changes)
        self._times = times_of(changes)
        self.outcomes: dict[Change, Outcome] = {}

    def run(self, give_up_at: float) -> None:
        """Retry until the changes are committed or none is left; raises sqlite3.Error if that is impossible."""
        self._roll_back()
        ways = self._ways()
        make_all = next(ways)
        while self._keep_wanted():
            if not lock_to_write(self._connection, give_up_at):
                continue
            self._times.locked = time.perf_counter()
            outcomes = make_all()
            self._times.decided = time.perf_counter()
            if outcomes is None:
                make_all = next(ways)
            elif not any(change.is_given_up for change in outcomes) and _are_claimed(outcomes):
                self._finish(outcomes)
                self._times.committed = time.perf_counter()
                return
            self._roll_back()

    def fail_all(self, error: sqlite3.Error) -> None:
        """Roll back, and fail every change that is not settled."""
        log_fault(error)
        self._commits.failed(error)
        self.outcomes |= {change: Failed(failure_of(error)) for change in self._waiting}
        try:
            self._roll_back()
        except sqlite3.Error:
            _log.exception("a failed transaction could not be rolled back; the next transaction retries that")

    def _keep_wanted(self) -> bool:
        """Drop changes that were given up or are late; return whether any change is left."""
        self._waiting = _wanted(self._waiting)
        return bool(self._waiting)

    def _ways(self) -> Iterator[Callable[[], Mapping[Change, Outcome] | None]]:
        """Yield how to make the changes; the next way is for changes for which the one before returned None."""
        if self._assumptions.are_likely and can_be_assumed(change.command for change in self._waiting):
            yield self._make_on_assumptions
            self._assumptions.were_wrong()
        else:
            self._assumptions.were_not_made()
        yield self._make_together
        yield self._make_separately

    def _make_on_assumptions(self) -> Mapping[Change, Outcome] | None:
        """Make all shares without reading first; return None if that is impossible."""
        wanted = _wanted(self._waiting)
        shares = [cast("Share", change.command) for change in wanted]
        try:
            outcomes = make_on_assumptions(self._connection, shares, self._clock())
        except Exception as error:
            if isinstance(error, sqlite3.Error) and is_failed_sync(error):
                raise
            return None
        return None if outcomes is None else dict(zip(wanted, outcomes, strict=True))

    def _make_together(self) -> Mapping[Change, Outcome] | None:
        """Make all changes; return None if one of several failed."""
        wanted = _wanted(self._waiting)
        try:
            outcomes = make(self._connection, [change.command for change in wanted], self._clock())
        except Exception as error:
            if isinstance(error, sqlite3.Error) and (is_failed_sync(error) or len(wanted) == 1):
                raise
            return None if len(wanted) > 1 else {change: Failed(error) for change in wanted}
        return dict(zip(wanted, outcomes, strict=True))

    def _make_separately(self) -> Mapping[Change, Outcome]:
        """Make each change with a savepoint; raises sqlite3.Error if a failure ended the whole transaction."""
        outcomes: dict[Change, Outcome] = {}
        for change in _wanted(self._waiting):
            self._connection.execute("SAVEPOINT change")
            outcomes[change] = self._make_or_undo(change)
            self._connection.execute("RELEASE change")
        return outcomes

    def _make_or_undo(self, change: Change) -> Outcome:
        try:
            (outcome,) = make(self._connection, [change.command], self._clock())
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # SQLite itself rolls back when, for instance, the disk is full
            self._connection.execute("ROLLBACK TO change")
            if not isinstance(error, sqlite3.Error):
                return Failed(error)
            log_fault(error)
            return Failed(failure_of(error))
        return outcome

    def _finish(self, outcomes: Mapping[Change, Outcome]) -> None:
        if any(isinstance(outcome, Succeeded) for outcome in outcomes.values()):
            try:
                self._commits.commit()
            except CommitUnknown as unknown:
                outcomes = {change: _unsure(outcome, unknown) for change, outcome in outcomes.items()}
        else:
            self._roll_back()
        self.outcomes |= outcomes

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _are_claimed(outcomes: Mapping[Change, Outcome]) -> bool:
    """Return whether all changes to commit are claimed for it."""
    return claim([change for change, outcome in outcomes.items() if isinstance(outcome, Succeeded)])


def _wanted(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if not change.is_given_up]


def _unsure(outcome: Outcome, unknown: CommitUnknown) -> Failed:
    """Return an outcome after an unknown commit: a failure may depend on a change that is not stored."""
    failure = OutcomeUnknown() if isinstance(outcome, Succeeded) else Unavailable("The store cannot be used now.")
    failure.__cause__ = unknown
    return Failed(failure)
