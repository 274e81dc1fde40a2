"""Callers that wait for their changes, and what each can be told when its time is up.

Until a commit begins, a caller can be told that nothing is stored, and then nothing may be; from then on only the
database knows. Which of the two came first is decided once, under a lock, and never by a clock: a process may stand
still for any time between reading a clock and acting on it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from enum import Enum
from typing import Final

from server.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from server.timers import Timers

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


class Waiter:
    """One caller, on the event loop that made it."""

    __slots__ = ("_commit_by", "_lock", "_phase", "_timer", "_timers", "_told_at", "answered", "late_at")

    def __init__(self, timers: Timers, commit_by: float | None, answer_by: float | None, patience: float) -> None:
        """Begin to wait.

        Args:
            timers: of the event loop.
            commit_by: reading of ``time.monotonic()`` after which no commit may begin; None: no limit.
            answer_by: reading by which the caller is told something, if only that the outcome is not known.
            patience: seconds that it waits for a commit to begin, where ``commit_by`` is not before.
        """
        self._commit_by = commit_by
        now = time.monotonic()
        self.late_at = now + patience if commit_by is None else min(now + patience, commit_by)
        """Reading of ``time.monotonic()`` from which on no commit of the change may begin."""
        self._told_at = now + patience + _OUTCOME_WAIT if answer_by is None else answer_by
        self._phase = Phase.OPEN
        self._lock = threading.Lock()
        self.answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._timers = timers
        self._timer = timers.at(self.late_at, self._late)

    @property
    def phase(self) -> Phase:
        """How far the change has come."""
        return self._phase

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the change any more. May be asked in any thread."""
        return self.answered.done() or self._phase is Phase.REFUSED

    def claim(self) -> bool:
        """Whether a commit may begin; from then on the caller is not told that nothing is stored. In any thread."""
        with self._lock:
            if self._phase is Phase.REFUSED or self.answered.done():
                return False
            self._phase = Phase.COMMITTING
            return True

    def reopen(self) -> None:
        """Nothing was committed, which is known by now: it can be tried again, if there is time."""
        self._phase = Phase.OPEN
        if time.monotonic() >= self.late_at:
            self._timer.cancel()
            self._late()

    def answer(self, value: object) -> None:
        """Tell the caller what became of the change."""
        if not self.answered.done():
            self.answered.set_result(value)

    def fail(self, failure: Exception) -> None:
        """Tell the caller why the change was not made."""
        if not self.answered.done():
            self.answered.set_exception(failure)

    def leave(self) -> None:
        """The caller waits no more."""
        self._timer.cancel()

    def _late(self) -> None:
        with self._lock:
            if self._phase is Phase.OPEN:
                self._phase = Phase.REFUSED
        if self._phase is Phase.COMMITTING:
            self._timer = self._timers.at(self._told_at, self._unknown)
        elif self.late_at == self._commit_by:
            self.fail(DeadlineTooClose())
        else:
            self.fail(Unavailable("The store did not answer in time; nothing was stored."))

    def _unknown(self) -> None:
        self.fail(OutcomeUnknown())
