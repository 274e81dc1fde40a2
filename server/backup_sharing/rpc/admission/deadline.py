"""The deadline of a call: ends the call's task, as `asyncio.timeout` does for a quarter of its cost."""

from __future__ import annotations

import asyncio

from backup_sharing.errors import DeadlineTooClose
from backup_sharing.timers import Timers


class Deadline:
    """Cancels the task that made it, unless it is lifted before."""

    __slots__ = ("_has_passed", "_requests", "_task", "_tick", "_timers")

    def __init__(self, timers: Timers, when: float) -> None:
        """Set it for a reading of ``time.monotonic()``; it may pass a little later."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - made in a coroutine
        self._task = task
        self._requests = task.cancelling()
        self._has_passed = False
        self._timers = timers
        self._tick: int | None = timers.set(when, self)

    def lift(self) -> None:
        """Let the task go on for any time."""
        if self._tick is not None:
            self._timers.cancel(self._tick, self)
            self._tick = None

    def failure(self, cancelled: asyncio.CancelledError) -> DeadlineTooClose | asyncio.CancelledError:
        """What to raise for a cancellation that arrived: another one than the deadline's stays what it is."""
        if self._has_passed and self._task.uncancel() <= self._requests:
            return DeadlineTooClose()
        return cancelled

    def time_is_up(self) -> None:
        """End the task."""
        self._has_passed = True
        self._task.cancel()
