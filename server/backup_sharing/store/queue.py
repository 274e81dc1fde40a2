"""The queue of changes before their commit: its length, the waiting time and the size of batches."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from backup_sharing.errors import Overloaded, Unavailable
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Command
from backup_sharing.store.change import BatchTimes, Change
from backup_sharing.store.observing.observer import StoreObserver
from backup_sharing.store.waiter import Waiters
from programkit.stages import Batch

_RETRY_AFTER: Final = (0.001, 0.05)
"""Seconds before blocked changes are retried: the first time, and the maximum."""


class ChangeQueue:
    """Changes in the order of their commits, for one event loop and any number of writers."""

    def __init__(
        self,
        *,
        max_waiting: int,
        max_batch: int,
        patience: float,
        commit_delay: float = 0.0,
        observer: StoreObserver | None = None,
    ) -> None:
        """Let at most ``max_waiting`` changes wait, each at most ``patience`` seconds for its commit to begin.

        With several active callers, a batch waits up to ``commit_delay`` seconds for as many changes as recently came
        together, at most ``max_batch``; a single caller never waits. ``observer`` is told how long changes waited.
        """
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._commit_delay = commit_delay
        self._waiters = Waiters(patience)
        self._observer = observer
        self._waiting: deque[Change] = deque()
        self._aside = 0
        """Number of changes put aside for a retry."""
        self._expected = 1
        """Expected number of changes in the next batch."""
        self._taken = 0
        """Number of changes in the last batch."""
        self._changed = asyncio.Event()
        self._enough = asyncio.Event()
        """Set when the expected number of changes waits."""
        self._numbers = itertools.count(1)
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Number of changes that no writer has taken, without those of `aside`."""
        return len(self._waiting)

    @property
    def aside(self) -> int:
        """Number of changes that wait for a retry."""
        return self._aside

    async def make(self, command: Command) -> Sequence[Sharing]:
        """Queue a change, wait for its commit, and return the sharings for its caller.

        Raises the change's failure, or `Overloaded`, `Unavailable`, `DeadlineTooClose` or `OutcomeUnknown`.
        """
        if self._stopped:
            raise _closed()
        if len(self._waiting) + max(self._aside - self._max_batch, 0) >= self._max_waiting:
            raise Overloaded("Too many changes are waiting; try again later.")
        change = Change(self._waiters, command)
        self._waiting.append(change)
        self._changed.set()
        if len(self._waiting) >= self._expected:
            self._enough.set()
        stages = command.cause.stages
        if stages is not None:
            stages.end("checks")
        try:
            return await change.answered
        finally:
            change.leave()
            if stages is not None and change.times is not None:
                change.times.add_to(stages)

    async def take(self) -> Sequence[Change]:
        """Wait for changes and take a batch; return nothing once the queue is stopped and all begun changes are done.

        A writer calls this as soon as its last batch is settled, before the callers run again.
        """
        # Answered callers usually call again, so expect as many; the estimate decays by 1/8 per batch.
        expected = max(self._taken + len(self._waiting), self._expected * 7 // 8)
        self._expected = min(expected, self._max_batch)
        while not self._stopped or self._waiting or self._aside:
            await self._gather()
            if batch := self._batch():
                self._taken = len(batch)
                if self._observer is not None:
                    now = time.monotonic()
                    self._observer.taken(now - change.since for change in batch if not change.pause)
                times = BatchTimes(Batch(next(self._numbers), len(batch)))
                for change in batch:
                    change.times = times
                return batch
            self._changed.clear()
            if not self._stopped or self._aside:
                await self._changed.wait()
        self._changed.set()
        return ()

    def put_aside(self, busy: Sequence[Change]) -> None:
        """Retry blocked changes a little later, all at once, so that they form one batch."""
        if not busy:
            return
        shortest, longest = _RETRY_AFTER
        pause = min(max(2 * max(change.pause for change in busy), shortest), longest)
        for change in busy:
            change.pause = pause
        self._aside += len(busy)
        seconds = random.uniform(pause / 2, pause)  # noqa: S311 -- no secret
        asyncio.get_running_loop().call_later(seconds, self._put_back, busy)

    def stop(self) -> None:
        """Accept no more changes, and fail the changes that no writer has begun."""
        self._stopped = True
        begun = [change for change in self._waiting if change.pause]
        for change in self._waiting:
            if not change.pause:
                change.fail(_closed())
        self._waiting = deque(begun)
        self._changed.set()
        self._enough.set()

    async def _gather(self) -> None:
        """Wait briefly for the expected number of changes, if at least one waits."""
        if not self._waiting or len(self._waiting) >= self._expected or self._stopped or not self._commit_delay:
            return
        self._enough.clear()
        timer = asyncio.get_running_loop().call_later(self._commit_delay, self._enough.set)
        await self._enough.wait()
        timer.cancel()

    def _batch(self) -> Sequence[Change]:
        """Take the next batch. Retried changes are not batched with new ones, or the new ones would wait too."""
        batch: list[Change] = []
        while self._waiting and len(batch) < self._max_batch:
            if batch and bool(self._waiting[0].pause) != bool(batch[0].pause):
                break
            change = self._waiting.popleft()
            if not change.is_given_up:
                batch.append(change)
        return batch

    def _put_back(self, aside: Sequence[Change]) -> None:
        self._aside -= len(aside)
        self._waiting.extendleft(reversed(aside))
        self._changed.set()


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")
