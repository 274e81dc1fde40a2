"""The one thread that writes: it takes everything that waits as one batch, and answers after the commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from server.errors import Overloaded, Unavailable
from server.store.outcome import NotMade, Outcome
from server.store.sqlite_batch import Change, carry_out

T = TypeVar("T")

_log = logging.getLogger(__name__)

_Caller = asyncio.Future[Any]
_Answer = tuple[_Caller, Outcome]


class Writer:
    """Makes changes one after the other on its own connection, which it owns from now on.

    The connection should not wait for locks by itself: a batch does, up to ``busy_timeout`` seconds.
    When several callers are at work, a batch waits up to ``commit_delay`` seconds for as many changes as
    came together lately; a caller that is alone never waits.
    ``after_batch`` is called with it when a batch is answered; it must not raise.
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
    ) -> None:
        self._connection = connection
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._busy_timeout = busy_timeout
        self._commit_delay = commit_delay
        self._after_batch = after_batch
        self._waiting: deque[tuple[Change, _Caller]] = deque()
        self._stopped = False
        self._changed = threading.Condition()
        """Guards what waits, how many are expected, and whether it is stopped."""
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
    ) -> T:
        """Make a change in a transaction and return its answer when it is on the disk.

        ``change`` may run several times, always from the same state as if it ran once. It is not
        run if the caller is cancelled before its turn. Raises what it raises, or `Overloaded`,
        `Unavailable`, `DeadlineTooClose` or `StoredDataUnreadable`: then nothing is stored.
        """
        caller: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._stopped:
                raise _closed()
            if len(self._waiting) >= self._max_waiting:
                raise Overloaded("Too many changes are waiting; try again later.")
            self._waiting.append((Change(change, commit_by, caller.cancelled, command, make_all), caller))
            # Being woken costs the thread, and the loop that it takes the interpreter from, more than a change does.
            if len(self._waiting) in (1, self._expected):
                self._changed.notify()
        return await caller

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
        """Stop, wait for the batch under way, move what it wrote into the database file, and let go of it."""
        self.stop()
        self._thread.join()
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.ProgrammingError:
            return  # closed before
        except sqlite3.Error:
            _log.exception("the last checkpoint failed; nothing is lost, the next start reads the log")
        self._connection.close()

    def _run(self) -> None:
        try:
            while batch := self._take():
                outcomes = self._carry_out(change for change, _ in batch)
                # Before the answers: a batch counts for nothing that is asked after them.
                self._batches += any(map(_is_in_order, outcomes.values()))
                self._expect(len(batch))
                _deliver(batch, outcomes)
                if self._after_batch is not None:
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

    def _take(self) -> list[tuple[Change, _Caller]]:
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
            return carry_out(self._connection, changes, self._busy_timeout)
        except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the thread
            _log.exception("a batch of changes ended in a defect")
            return {change: NotMade(error) for change in changes}


def _is_in_order(outcome: Outcome) -> bool:
    return not (isinstance(outcome, NotMade) and isinstance(outcome.failure, Unavailable))


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")


def _deliver(batch: Iterable[tuple[Change, _Caller]], outcomes: Mapping[Change, Outcome]) -> None:
    """Hand each loop all answers for its callers at once."""
    answers: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for change, caller in batch:
        if change in outcomes:
            answers.setdefault(caller.get_loop(), []).append((caller, outcomes[change]))
    for loop, of_loop in answers.items():
        try:
            loop.call_soon_threadsafe(_answer, of_loop)
        except RuntimeError:
            _log.warning("callers were gone before their changes were answered")


def _answer(answers: Iterable[_Answer]) -> None:
    for caller, outcome in answers:
        if caller.done():
            continue
        if isinstance(outcome, NotMade):
            caller.set_exception(outcome.failure)
        else:
            caller.set_result(outcome.answer)
