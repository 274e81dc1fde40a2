"""Callers that wait for their changes, and the result of each when its time is up.

Before a commit begins, a caller may get the result that nothing is stored, and then nothing may be stored. Afterwards
only the database knows the outcome. A lock, never a clock, decides which of the two comes first: a process may pause
for any time between reading a clock and acting on it.
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
"""Seconds beyond its patience that a caller waits for the outcome of a commit that has begun."""


class Phase(Enum):
    """Progress of a change."""

    OPEN = "open"
    """Nothing of the change can be stored yet."""
    COMMITTING = "committing"
    """The change may be stored; only the database knows."""
    REFUSED = "refused"
    """The caller gets the result that nothing is stored; no commit of the change may begin."""


class Waiters:
    """Shared state of the callers of one queue."""

    __slots__ = ("lock", "patience", "timers")

    def __init__(self, patience: float) -> None:
        """Let each caller wait at most ``patience`` seconds for its commit to begin."""
        self.patience = patience
        self.timers = Timers()
        self.lock = threading.Lock()
        """Guards the phases of all callers."""


class Waiter:
    """One caller; belongs to the event loop that created it."""

    __slots__ = ("_answer_at", "_commit_by", "_tick", "answered", "late_at", "phase", "since", "waiters")

    def __init__(self, waiters: Waiters, commit_by: float | None, answer_by: float | None) -> None:
        """Begin to wait.

        Args:
            waiters: shared state of the queue.
            commit_by: reading of ``time.monotonic()`` after which no commit may begin; None: no limit.
            answer_by: reading by which the caller must get a result, `OutcomeUnknown` if nothing else is known; None: 5
                seconds after the patience ends.
        """
        self.waiters = waiters
        """Shared state of the same queue."""
        self._commit_by = commit_by
        self.since = time.monotonic()
        """Reading of ``time.monotonic()`` at which the caller began to wait."""
        patient_until = self.since + waiters.patience
        self.late_at = patient_until if commit_by is None or patient_until < commit_by else commit_by
        """Reading of ``time.monotonic()`` from which no commit of the change may begin."""
        self._answer_at = patient_until + _OUTCOME_WAIT if answer_by is None else answer_by
        self.phase = Phase.OPEN
        self.answered: asyncio.Future[Sequence[Sharing]] = asyncio.get_running_loop().create_future()
        self._tick = waiters.timers.set(self.late_at, self)

    @property
    def is_given_up(self) -> bool:
        """Whether no caller waits for the change any more, or its time is up. Any thread may read this."""
        if self.phase is Phase.OPEN:
            return self.answered.done() or time.monotonic() >= self.late_at
        return self.phase is Phase.REFUSED or self.answered.done()

    def reopen(self) -> None:
        """Allow another commit, as nothing was committed; fail the change if its time is up."""
        self.phase = Phase.OPEN
        if time.monotonic() >= self.late_at:
            self.leave()
            self.time_is_up()

    def answer(self, value: Sequence[Sharing]) -> None:
        """Return the sharings to the caller."""
        if not self.answered.done():
            self.answered.set_result(value)

    def fail(self, failure: Exception) -> None:
        """Raise a failure in the caller."""
        if not self.answered.done():
            self.answered.set_exception(failure)

    def leave(self) -> None:
        """Cancel the timer, as the caller waits no more."""
        self.waiters.timers.cancel(self._tick, self)

    def time_is_up(self) -> None:
        """Report the known outcome; a commit that has begun may take until ``answer_by``."""
        with self.waiters.lock:
            is_refused = self.phase is not Phase.COMMITTING
            if is_refused:
                self.phase = Phase.REFUSED
        if not is_refused and time.monotonic() < self._answer_at:
            self._tick = self.waiters.timers.set(self._answer_at, self)
        elif not is_refused:
            self.fail(OutcomeUnknown())
        elif self.late_at == self._commit_by:
            self.fail(DeadlineTooClose())
        else:
            self.fail(Unavailable("The store did not answer in time; nothing was stored."))


def claim(waiters: Sequence[Waiter]) -> bool:
    """Return whether a commit of these changes, all in one queue, may begin. Any thread may call this.

    After True, no caller gets the result that nothing is stored. Claims none if one was refused, or its caller has
    gone.
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
