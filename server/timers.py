"""Timers that are cheap to set and to cancel, and a little late: every call has some, and hardly any ever runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.01
"""A timer runs at most so late, on a loop that is not busy. The loop has one timer of its own for all of them."""


class Timer:
    """One timer."""

    __slots__ = ("_callback", "_number", "_timers")

    def __init__(self, timers: Timers, number: int, callback: Callable[[], object]) -> None:
        """Made by `Timers.at`."""
        self._timers = timers
        self._number = number
        self._callback = callback

    def cancel(self) -> None:
        """Do not run; a timer that has run, or was cancelled before, stays as it is."""
        self._timers._remove(self, self._number)

    def run(self) -> None:
        """Call back."""
        self._callback()


class Timers:
    """The timers of one event loop."""

    def __init__(self) -> None:
        """Begin with none. The loop is the one that runs when the first is set."""
        self._due: dict[int, set[Timer]] = {}
        """By the number of the tick at which they run."""
        self._count = 0
        self._next_tick = 0
        self._ticking: asyncio.TimerHandle | None = None

    def at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back when ``time.monotonic()`` reads ``when`` or a little more; never before this returns."""
        if self._ticking is None:
            self._next_tick = int(time.monotonic() / TICK_SECONDS) + 1
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        number = max(int(when / TICK_SECONDS) + 1, self._next_tick)
        timer = Timer(self, number, callback)
        due = self._due.get(number)
        if due is None:
            due = self._due[number] = set()
        due.add(timer)
        self._count += 1
        return timer

    def _remove(self, timer: Timer, number: int) -> None:
        due = self._due.get(number)
        if due is not None and timer in due:
            due.remove(timer)
            self._count -= 1

    def _tick(self) -> None:
        now = int(time.monotonic() / TICK_SECONDS)
        run: list[Timer] = []
        for number in range(self._next_tick, now + 1):
            run += self._due.pop(number, ())
        self._next_tick = now + 1
        self._count -= len(run)
        if self._count:
            self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        else:
            self._due.clear()
            self._ticking = None
        for timer in run:
            timer.run()
