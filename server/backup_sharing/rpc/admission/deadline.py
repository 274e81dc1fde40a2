"""The deadline of a call: cancels the call's task like `asyncio.timeout`, at a quarter of the cost."""

from __future__ import annotations

import asyncio

from backup_sharing.timers import Timers


class Deadline:
    """Cancels the task that creates it, unless `lift` is called before."""

    __slots__ = ("_has_passed", "_requests", "_task", "_tick", "_timers")

    def __init__(self, timers: Timers, when: float) -> None:
        """Set the deadline to a value of ``time.monotonic()``; the cancellation may come a little later."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - always created in a coroutine
        self._task = task
        self._requests = task.cancelling()
        self._has_passed = False
        self._timers = timers
        self._tick: int | None = timers.set(when, self)

    def lift(self) -> None:
        """Remove the deadline."""
        if self._tick is not None:
            self._timers.cancel(self._tick, self)
            self._tick = None

    def has_cancelled(self) -> bool:
        """Return whether the deadline alone caused the cancellation that the task has got."""
        return self._has_passed and self._task.uncancel() <= self._requests

    def time_is_up(self) -> None:
        """Cancel the task."""
        self._has_passed = True
        self._task.cancel()
