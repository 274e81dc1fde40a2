"""Coarse timers, cheap to set and to cancel, because every call sets some and hardly any timer expires."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

TICK_SECONDS: Final = 0.01
"""Maximum delay of a timer in seconds, on an idle event loop. All timers share one timer of the event loop."""


class Timer(Protocol):
    """A single timer of the event loop."""

    def cancel(self) -> None:
        """Cancel the timer; do nothing if it has expired."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after some seconds; tests pass one that they control."""


def later(seconds: float, callback: Callable[[], None]) -> Timer:
    """Call a function after ``seconds``, on the running event loop. For rare, long timers."""
    return asyncio.get_running_loop().call_later(seconds, callback)


class Timed(Protocol):
    """An object that a timer notifies."""

    def time_is_up(self) -> None:
        """Handle the expiry of the timer. May set and cancel timers."""
        ...


class Timers:
    """The timers of one event loop."""

    def __init__(self) -> None:
        """Create an empty set of timers. The first timer binds it to the running event loop."""
        self._due: dict[int, set[Timed]] = {}
        """Objects by the number of the tick at which their timer expires."""
        self._next_tick = 0
        self._ticking: asyncio.TimerHandle | None = None
        self._count = 0

    def set(self, when: float, timed: Timed) -> int:
        """Set a timer for a value of ``time.monotonic()``; return the tick that `cancel` needs.

        A timer never expires before this method returns. An object has at most one timer at a time.
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
        """Cancel a timer; do nothing if the timer has expired or was cancelled before."""
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
