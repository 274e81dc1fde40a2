"""Changes that wait for PostgreSQL, and how long their callers wait for them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Final

from server.errors import DeadlineTooClose, Overloaded, Unavailable
from server.store.decisions import Command

_OUTCOME_WAIT: Final = 5.0
"""Seconds for which a caller whose commit was begun waits beyond its time, to learn what became of it."""


class Phase(Enum):
    """How far a change has come."""

    OPEN = "open"
    """Nothing of it can be stored yet."""
    COMMITTING = "committing"
    """It may be stored: whether it is, only the database can say."""


class Waiting:
    """A change and its caller."""

    __slots__ = ("_loop", "_timer", "answered", "command", "late_at", "pause", "phase")

    def __init__(self, command: Command, late_at: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.command = command
        self.late_at = late_at
        """Reading of ``time.monotonic()`` from which on nothing may be committed."""
        self.phase = Phase.OPEN
        self.pause = 0.0
        """Seconds that it waited last for others that had locked its backup."""
        self.answered: asyncio.Future[object] = self._loop.create_future()
        self._timer = self._loop.call_later(max(late_at - time.monotonic(), 0), self._late)

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answered.done()

    def answer(self, value: object) -> None:
        """Tell the caller."""
        if not self.answered.done():
            self.answered.set_result(value)

    def fail(self, failure: Exception) -> None:
        """Tell the caller why nothing is stored."""
        if not self.answered.done():
            self.answered.set_exception(failure)

    def reopen(self) -> None:
        """It is known by now that nothing of it was committed: it can be tried again, if there is time."""
        self.phase = Phase.OPEN
        if time.monotonic() >= self.late_at:
            self._late()

    def leave(self) -> None:
        """The caller waits no more."""
        self._timer.cancel()

    def _late(self) -> None:
        if self.phase is Phase.COMMITTING:
            self._timer = self._loop.call_later(_OUTCOME_WAIT, self._unknown)
        elif self.command.cause.commit_by is not None and time.monotonic() >= self.command.cause.commit_by:
            self.fail(DeadlineTooClose())
        else:
            self.fail(Unavailable("The database did not answer in time; nothing was stored."))

    def _unknown(self) -> None:
        if self.phase is Phase.OPEN:
            return
        self.fail(
            Unavailable(
                "The database went away before it said whether the call was carried out; look what is stored, or"
                " call again with the same idempotency key."
            )
        )


class Queue:
    """Changes in the order in which they are to be made."""

    def __init__(self, max_waiting: int, max_batch: int, patience: float) -> None:
        """Let at most ``max_waiting`` changes wait, none longer than ``patience`` seconds."""
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._patience = patience
        self._waiting: deque[Waiting] = deque()
        self._aside = 0
        self._changed = asyncio.Event()
        self._stopped = False

    async def make(self, command: Command) -> object:
        """Have a change made, and answer what its caller gets.

        Raises its failure, or `Overloaded`, `Unavailable` or `DeadlineTooClose`.
        """
        if self._stopped:
            raise _closed()
        if len(self._waiting) + self._aside >= self._max_waiting:
            raise Overloaded("Too many changes are waiting; try again later.")
        now, commit_by = time.monotonic(), command.cause.commit_by
        late_at = now + self._patience if commit_by is None else min(commit_by, now + self._patience)
        waiting = Waiting(command, late_at)
        self._waiting.append(waiting)
        self._changed.set()
        try:
            return await waiting.answered
        finally:
            waiting.leave()

    async def take(self) -> list[Waiting]:
        """Wait for changes and take them; nothing once the queue is stopped."""
        while not self._stopped:
            batch: list[Waiting] = []
            while self._waiting and len(batch) < self._max_batch:
                waiting = self._waiting.popleft()
                if not waiting.is_given_up:
                    batch.append(waiting)
            if batch:
                return batch
            self._changed.clear()
            await self._changed.wait()
        return []

    def put_aside(self, waiting: Iterable[Waiting], seconds: float) -> None:
        """Have changes wait again, but not before some time."""
        aside = list(waiting)
        self._aside += len(aside)
        asyncio.get_running_loop().call_later(seconds, self._put_back, aside)

    def stop(self) -> None:
        """Take no more changes, and let those that wait fail."""
        self._stopped = True
        self._changed.set()
        while self._waiting:
            self._waiting.popleft().fail(_closed())

    def _put_back(self, aside: list[Waiting]) -> None:
        self._aside -= len(aside)
        self._waiting.extendleft(reversed(aside))
        self._changed.set()
        if self._stopped:
            self.stop()


def _closed() -> Unavailable:
    return Unavailable("The store is closed.")
