"""Callers that wait for their changes, and what each can be told when its time is up.

Until a commit begins, a caller can be told that nothing is stored, and then nothing may be; from then on only the
database knows. Which of the two came first is decided once, under a lock, and never by a clock: a process may stand
still for any time between reading a clock and acting on it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from enum import Enum
from typing import Final

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from backup_sharing.model import Sharing
from backup_sharing.timers import Timers

_OUTCOME_WAIT: Final = 5.0
"""Seconds for which a caller waits beyond its patience to learn what became of a commit that was begun."""


class Phase(Enum):
    """How far a change has come."""

    OPEN = "open"
    """Nothing of it can be stored yet."""
    COMMITTING = "committing"
    """It may be stored: whether it is, only the database can say."""
    REFUSED = "refused"
    """Its caller is told that nothing is stored: no commit of it may begin."""


class Waiters:
    """What the callers of one queue have in common."""

    __slots__ = ("lock", "patience", "timers")

    def __init__(self, patience: float) -> None:
        """Let none wait for more than ``patience`` seconds for its commit to begin."""
        self.patience = patience
        self.timers = Timers()
        self.lock = threading.Lock()
        """Guards the phases of all."""


class Waiter:
    """One caller, on the event loop that made it."""

    __slots__ = ("_commit_by", "_tick", "_told_at", "answered", "late_at", "phase", "waiters")

    def __init__(self, waiters: Waiters, commit_by: float | None, answer_by: float | None) -> None:
        """Begin to wait.

        Args:
            waiters: of the queue.
            commit_by: reading of ``time.monotonic()`` after which no commit may begin; None: no limit.
            answer_by: reading by which the caller is told something, if only that the outcome is not known.
        """
        self.waiters = waiters
        """Those of the same queue."""
        self._commit_by = commit_by
        patient_until = time.monotonic() + waiters.patience
        self.late_at = patient_until if commit_by is None or patient_until < commit_by else commit_by
        """Reading of ``time.monotonic()`` from which on no commit of the change may begin."""
        self._told_at = patient_until + _OUTCOME_WAIT if answer_by is None else answer_by
        self.phase = Phase.OPEN
        """How far the change has come."""
        self.answered: asyncio.Future[Sequence[Sharing]] = asyncio.get_running_loop().create_future()
        self._tick = waiters.timers.set(self.late_at, self)

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the change any more, or will in a moment. May be asked in any thread."""
        if self.phase is Phase.OPEN:
            return self.answered.done() or time.monotonic() >= self.late_at
        return self.phase is Phase.REFUSED or self.answered.done()

    def reopen(self) -> None:
        """Nothing was committed, which is known by now: it can be tried again, if there is time."""
        self.phase = Phase.OPEN
        if time.monotonic() >= self.late_at:
            self.leave()
            self.time_is_up()

    def answer(self, value: Sequence[Sharing]) -> None:
        """Tell the caller what became of the change."""
        if not self.answered.done():
            self.answered.set_result(value)

    def fail(self, failure: Exception) -> None:
        """Tell the caller why the change was not made."""
        if not self.answered.done():
            self.answered.set_exception(failure)

    def leave(self) -> None:
        """The caller waits no more."""
        self.waiters.timers.cancel(self._tick, self)

    def time_is_up(self) -> None:
        """Tell the caller what is known."""
        with self.waiters.lock:
            is_refused = self.phase is not Phase.COMMITTING
            if is_refused:
                self.phase = Phase.REFUSED
        if not is_refused and time.monotonic() < self._told_at:
            self._tick = self.waiters.timers.set(self._told_at, self)
        elif not is_refused:
            self.fail(OutcomeUnknown())
        elif self.late_at == self._commit_by:
            self.fail(DeadlineTooClose())
        else:
            self.fail(Unavailable("The store did not answer in time; nothing was stored."))


def claim(waiters: Sequence[Waiter]) -> bool:
    """Answer whether a commit for all of these, who wait in one queue, may begin. May be asked in any thread.

    From then on none of them is told that nothing is stored. Claims none if one was refused, or has gone.
    """
    if not waiters:
        return True
    with waiters[0].waiters.lock:
        for waiter in waiters:
            if waiter.phase is Phase.REFUSED or waiter.answered.done():
                return False
        for waiter in waiters:
            waiter.phase = Phase.COMMITTING
    return True
