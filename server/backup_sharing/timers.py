"""Timers that are cheap to set and to cancel, and a little late: every call has some, and hardly any ever runs."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

TICK_SECONDS: Final = 0.01
"""A timer runs at most so late, on a loop that is not busy. The loop has one timer of its own for all of them."""


class Timed(Protocol):
    """What a timer is set for."""

    def time_is_up(self) -> None:
        """The time has come. May set and cancel timers."""
        ...


class Timers:
    """The timers of one event loop."""

    def __init__(self) -> None:
        """Begin with none. The loop is the one that runs when the first is set."""
        self._due: dict[int, set[Timed]] = {}
        """By the number of the tick at which their time is up."""
        self._next_tick = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._count = 0

    def set(self, when: float, timed: Timed) -> int:
        """Set a timer for a reading of ``time.monotonic()``; answers what to cancel it with.

        Its time is never up before this returns. One object has one timer at a time.
        """
        if self._ticking is None:
            self._next_tick = int(time.monotonic() / TICK_SECONDS) + 1
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        tick = int(when / TICK_SECONDS) + 1
        if tick < self._next_tick:
            tick = self._next_tick
        due = self._due.get(tick)
        if due is None:
            self._due[tick] = {timed}
        else:
            due.add(timed)
        self._count += 1
        return tick

    def cancel(self, tick: int, timed: Timed) -> None:
        """Cancel a timer; one whose time was up, or that was cancelled before, stays as it is."""
        due = self._due.get(tick)
        if due is not None and timed in due:
            due.remove(timed)
            self._count -= 1

    def _tick(self) -> None:
        now = int(time.monotonic() / TICK_SECONDS)
        up: list[Timed] = []
        for tick in range(self._next_tick, now + 1):
            up += self._due.pop(tick, ())
        self._next_tick = now + 1
        self._count -= len(up)
        if self._count:
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        else:
            self._due.clear()
            self._ticking = None
        for timed in up:
            timed.time_is_up()
