"""Changes that wait for PostgreSQL, and how long their callers wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from backup_sharing.errors import Overloaded, Unavailable
from backup_sharing.rules.commands import Command
from backup_sharing.store.waiter import Waiter, Waiters


class Waiting(Waiter):
    """A change and its caller."""

    __slots__ = ("command", "pause", "tries")

    def __init__(self, waiters: Waiters, command: Command) -> None:
        super().__init__(waiters, command.cause.commit_by, command.cause.answer_by)
        self.command = command
        self.pause = 0.0
        """Seconds that it waited last for others that had locked its backup."""
        self.tries = 0
        """How often it failed when it was tried by itself."""


class Queue:
    """Changes in the order in which they are to be made."""

    def __init__(self, max_waiting: int, max_batch: int, patience: float, commit_delay: float = 0.0) -> None:
        """Let at most ``max_waiting`` changes wait, none longer than ``patience`` seconds.

        When several callers are at work, a batch waits up to ``commit_delay`` seconds for as many changes as came
        together lately; a caller that is alone never waits.
        """
        self._commit_delay = commit_delay
        self._expected = 1
        """How many changes are likely to come together."""
        self._taken = 0
        """How many the last batch had."""
        self._enough = asyncio.Event()
        """Set when as many wait as are expected."""
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._waiters = Waiters(patience)
        self._waiting: deque[Waiting] = deque()
        self._aside = 0
        self._changed = asyncio.Event()
        self._stopped = False

    @property
    def is_stopped(self) -> bool:
        """Whether no more changes are taken."""
        return self._stopped

    async def make(self, command: Command) -> object:
        """Have a change made, and answer what its caller gets.

        Raises its failure, or `Overloaded`, `Unavailable`, `DeadlineTooClose` or `OutcomeUnknown`.
        """
        if self._stopped:
            raise _closed()
        if len(self._waiting) + max(self._aside - self._max_batch, 0) >= self._max_waiting:
            raise Overloaded("Too many changes are waiting; try again later.")
        waiting = Waiting(self._waiters, command)
        self._waiting.append(waiting)
        self._changed.set()
        if len(self._waiting) >= self._expected:
            self._enough.set()
        try:
            return await waiting.answered
        finally:
            waiting.leave()

    async def take(self) -> list[Waiting]:
        """Wait for changes and take them; nothing once the queue is stopped and what was begun is done."""
        # Who gets an answer mostly asks again. Of fewer callers than before it is learned in a few batches.
        expected = max(self._taken + len(self._waiting), self._expected * 7 // 8)
        self._expected = min(expected, self._max_batch)
        while not self._stopped or self._waiting or self._aside:
            await self._gather()
            batch: list[Waiting] = []
            while self._waiting and len(batch) < self._max_batch:
                if batch and bool(self._waiting[0].pause) != bool(batch[0].pause):
                    # What met with others before would have those that are new wait with it.
                    break
                waiting = self._waiting.popleft()
                if not waiting.is_given_up:
                    batch.append(waiting)
            if batch:
                self._taken = len(batch)
                return batch
            self._changed.clear()
            if not self._stopped or self._aside:
                await self._changed.wait()
        self._changed.set()
        return []

    async def _gather(self) -> None:
        """Wait for as many changes as are expected, if there is one, but not for long."""
        if not self._waiting or len(self._waiting) >= self._expected or self._stopped or not self._commit_delay:
            return
        self._enough.clear()
        timer = asyncio.get_running_loop().call_later(self._commit_delay, self._enough.set)
        await self._enough.wait()
        timer.cancel()

    def put_aside(self, waiting: Iterable[Waiting], seconds: float) -> None:
        """Have changes wait again, but not before some time."""
        aside = list(waiting)
        self._aside += len(aside)
        asyncio.get_running_loop().call_later(seconds, self._put_back, aside)

    def stop(self) -> None:
        """Take no more changes, and let those fail that nobody has begun with."""
        self._stopped = True
        begun = [waiting for waiting in self._waiting if waiting.pause]
        for waiting in self._waiting:
            if not waiting.pause:
                waiting.fail(_closed())
        self._waiting = deque(begun)
        self._changed.set()
        self._enough.set()

    def _put_back(self, aside: list[Waiting]) -> None:
        self._aside -= len(aside)
        self._waiting.extendleft(reversed(aside))
        self._changed.set()


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")
