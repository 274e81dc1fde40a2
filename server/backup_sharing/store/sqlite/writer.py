"""The only thread that writes: it makes one batch of changes at a time, and reports after the commit."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue

from backup_sharing.errors import OutcomeUnknown, Unavailable
from backup_sharing.model import Micros
from backup_sharing.rules.assumed import Assumptions
from backup_sharing.rules.outcome import Failed, Outcome
from backup_sharing.store.change import Change
from backup_sharing.store.engine import system_clock
from backup_sharing.store.observing.observer import StoreObserver
from backup_sharing.store.sqlite.batch import carry_out
from backup_sharing.store.sqlite.commit import Commits

_log = logging.getLogger(__name__)


class Writer:
    """Makes batches of changes, one after another, on its own connection, which it owns from now on.

    The connection should not wait for locks by itself: a batch waits, up to ``busy_timeout`` seconds.
    ``clock`` tells the time at which sharings end.
    ``after_batch`` is called with the connection when the outcomes of a batch are known; it must not raise.
    ``breakdown`` is called with the error after which nothing more may be written; `stop` should follow.
    ``observer`` is told how long batches took.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        busy_timeout: float,
        clock: Callable[[], Micros] = system_clock,
        after_batch: Callable[[sqlite3.Connection], None] | None = None,
        breakdown: Callable[[Exception], None] = lambda _: None,
        observer: StoreObserver | None = None,
    ) -> None:
        self._connection = connection
        self._observer = observer
        self._commits = Commits(connection, breakdown)
        self._assumptions = Assumptions()
        self._busy_timeout = busy_timeout
        self._clock = clock
        self._after_batch = after_batch
        self._batches = 0
        self._stopped = False
        self._at_work = False
        self._handing_over = threading.Lock()
        """Held to stop and to hand a batch over, so that no batch follows the end."""
        self._handed_over: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def commit(self, batch: Sequence[Change]) -> None:
        """Make changes in a transaction, and settle them when it is on the disk.

        Changes that were given up before their turn are left out. Raises `Unavailable` for all changes after a stop.
        """
        job = _Job(batch)
        with self._handing_over:
            if self._stopped:
                raise _closed()
            self._handed_over.put(job)
        for change, outcome in (await job.done).items():
            change.settle(outcome)

    @property
    def is_running(self) -> bool:
        """Whether the writer accepts changes."""
        return not self._stopped

    @property
    def is_idle(self) -> bool:
        """Whether no batch waits or runs."""
        return self._handed_over.empty() and not self._at_work

    @property
    def batches(self) -> int:
        """Number of batches so far without a failure of the database."""
        return self._batches

    def stop(self) -> None:
        """Begin no more batches, and fail the waiting ones; the running batch continues."""
        with self._handing_over:
            self._stopped = True
            self._handed_over.put(None)

    def close(self) -> None:
        """Stop, wait for the running batch, and close the connection."""
        self.stop()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        try:
            while (job := self._handed_over.get()) is not None:
                self._at_work = True
                self._do(job)
                self._at_work = False
        finally:
            self.stop()
            while not self._handed_over.empty():
                if (job := self._handed_over.get()) is not None:
                    self._do(job)

    def _do(self, job: _Job) -> None:
        if self._stopped:
            job.end({change: Failed(_closed()) for change in job.batch})
            return
        began, before = time.monotonic(), self._commits.seconds
        outcomes = self._carry_out(job.batch)
        ended = time.monotonic()
        # Count before the replies, so that a probe that begins after them does not count this batch.
        self._batches += any(map(_is_in_order, outcomes.values()))
        job.end(outcomes)
        if self._observer is not None:
            commit = self._commits.seconds - before
            self._observer.batch_ended(len(job.batch), ended - began - commit, commit or None)
        if self._after_batch is not None and not self._stopped:
            self._after_batch(self._connection)

    def _carry_out(self, batch: Sequence[Change]) -> Mapping[Change, Outcome]:
        try:
            return carry_out(self._connection, batch, self._busy_timeout, self._commits, self._clock, self._assumptions)
        except Exception as error:  # noqa: BLE001 -- a defect must reach the callers, not end the thread
            _log.exception("a batch of changes failed because of a defect")
            return {change: Failed(error) for change in batch}


class _Job:
    """A batch, and the event loop that handed it over."""

    def __init__(self, batch: Sequence[Change]) -> None:
        self.batch = batch
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Mapping[Change, Outcome]] = self._loop.create_future()

    def end(self, outcomes: Mapping[Change, Outcome]) -> None:
        """Return all outcomes at once to the event loop."""
        try:
            self._loop.call_soon_threadsafe(self._hand_back, outcomes)
        except RuntimeError:
            _log.warning("the event loop ended before the outcomes of a batch were reported")

    def _hand_back(self, outcomes: Mapping[Change, Outcome]) -> None:
        if not self.done.done():
            self.done.set_result(outcomes)


def _is_in_order(outcome: Outcome) -> bool:
    return not (isinstance(outcome, Failed) and isinstance(outcome.failure, Unavailable | OutcomeUnknown))


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")
