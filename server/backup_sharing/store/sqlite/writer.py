"""The one thread that writes: it takes everything that waits as one batch, and answers after the commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from backup_sharing.errors import OutcomeUnknown, Overloaded, Unavailable
from backup_sharing.rules.outcome import NotMade, Outcome
from backup_sharing.store.sqlite.batch import Change, carry_out
from backup_sharing.store.sqlite.commit import Commits
from backup_sharing.store.waiter import Waiter, Waiters

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BATCH_SECONDS: Final = 1.0
"""Seconds that a batch takes at most on a disk that works. A change waits for the batch before its own, and then in
it, and each of the two may wait for the lock of another process."""

_Answer = tuple[Waiter, Outcome]


class Writer:
    """Makes changes one after the other on its own connection, which it owns from now on.

    The connection should not wait for locks by itself: a batch does, up to ``busy_timeout`` seconds.
    When several callers are at work, a batch waits up to ``commit_delay`` seconds for as many changes as
    came together lately; a caller that is alone never waits.
    ``after_batch`` is called with it when a batch is answered; it must not raise.
    ``breakdown`` is called with the error after which nothing more may be written; `stop` should follow.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        max_waiting: int,
        max_batch: int,
        busy_timeout: float,
        commit_delay: float = 0.0,
        after_batch: Callable[[sqlite3.Connection], None] | None = None,
        breakdown: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._commits = Commits(connection, breakdown)
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._busy_timeout = busy_timeout
        self._commit_delay = commit_delay
        self._after_batch = after_batch
        self._waiters = Waiters(2 * busy_timeout + _BATCH_SECONDS)
        self._waiting: deque[tuple[Change, Waiter]] = deque()
        self._stopped = False
        self._lock = threading.RLock()
        """Guards what waits, how many are expected, and whether it is stopped."""
        self._changed = threading.Condition(self._lock)
        self._at_work = False
        self._batches = 0
        self._expected = 1
        """How many changes are likely to come together: the writer is told of the first and of this one."""
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def make(
        self,
        change: Callable[[sqlite3.Connection], T],
        commit_by: float | None,
        command: object = None,
        make_all: Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Outcome]] | None = None,
        answer_by: float | None = None,
    ) -> T:
        """Make a change in a transaction and return its answer when it is on the disk.

        ``change`` may run several times, always from the same state as if it ran once. It is not
        run if the caller is cancelled before its turn. Raises what it raises, or `Overloaded`,
        `Unavailable`, `DeadlineTooClose` or `StoredDataUnreadable`: then nothing is stored. Raises
        `OutcomeUnknown` at ``answer_by`` if its commit was begun and has not ended.
        """
        waiter = Waiter(self._waiters, commit_by, answer_by)
        try:
            self._add(Change(change, commit_by, waiter.answered.done, waiter, command, make_all), waiter)
            return cast("T", await waiter.answered)
        finally:
            waiter.leave()

    def _add(self, change: Change, waiter: Waiter) -> None:
        with self._lock:
            if self._stopped:
                raise _closed()
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded("Too many changes are waiting; try again later.")
            self._waiting.append((change, waiter))
            # Being woken costs the thread, and the loop that it takes the interpreter from, more than a change does.
            if len(self._waiting) in (1, self._expected):
                self._changed.notify()

    @property
    def is_running(self) -> bool:
        """Whether changes are taken."""
        return not self._stopped

    @property
    def is_idle(self) -> bool:
        """Whether no change waits and none is being made."""
        return not self._waiting and not self._at_work

    @property
    def batches(self) -> int:
        """Number of batches so far that found the database in order."""
        return self._batches

    def stop(self) -> None:
        """Take no more changes, and let those that wait fail; the batch under way goes on."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def close(self) -> None:
        """Stop, wait for the batch under way, and let go of the database."""
        self.stop()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        try:
            while batch := self._take():
                outcomes = self._carry_out(change for change, _ in batch)
                # Before the answers: a batch counts for nothing that is asked after them.
                self._batches += any(map(_is_in_order, outcomes.values()))
                self._expect(len(batch))
                _deliver(batch, outcomes)
                if self._after_batch is not None and not self._stopped:
                    self._after_batch(self._connection)
                self._at_work = False
        finally:
            self.stop()
            _deliver(self._waiting, {change: NotMade(_closed()) for change, _ in self._waiting})
            self._waiting.clear()

    def _expect(self, made: int) -> None:
        """Reckon how many changes come together next; to be called before the callers of this batch are answered."""
        with self._changed:
            # Who gets an answer mostly asks again. Of fewer callers than before it is learned in a few batches.
            expected = max(made + len(self._waiting), self._expected * 7 // 8)
            self._expected = min(expected, self._max_batch)

    def _take(self) -> list[tuple[Change, Waiter]]:
        """Wait for changes and take them; nothing once it is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._expected or self._stopped, timeout=self._commit_delay
            )
            if self._stopped:
                return []
            self._at_work = True
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]

    def _carry_out(self, changes: Iterable[Change]) -> Mapping[Change, Outcome]:
        changes = list(changes)
        try:
            return carry_out(self._connection, changes, self._busy_timeout, self._commits)
        except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the thread
            _log.exception("a batch of changes ended in a defect")
            return {change: NotMade(error) for change in changes}


def _is_in_order(outcome: Outcome) -> bool:
    return not (isinstance(outcome, NotMade) and isinstance(outcome.failure, Unavailable | OutcomeUnknown))


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")


def _deliver(batch: Iterable[tuple[Change, Waiter]], outcomes: Mapping[Change, Outcome]) -> None:
    """Hand each loop all answers for its callers at once."""
    answers: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for change, waiter in batch:
        if change in outcomes:
            answers.setdefault(waiter.answered.get_loop(), []).append((waiter, outcomes[change]))
    for loop, of_loop in answers.items():
        try:
            loop.call_soon_threadsafe(_answer, of_loop)
        except RuntimeError:
            _log.warning("callers were gone before their changes were answered")


def _answer(answers: Iterable[_Answer]) -> None:
    for waiter, outcome in answers:
        if isinstance(outcome, NotMade):
            waiter.fail(outcome.failure)
        else:
            waiter.answer(outcome.answer)
