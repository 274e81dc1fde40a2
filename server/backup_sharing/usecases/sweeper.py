"""Records the ends of sharings that ended by themselves, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from backup_sharing.errors import Failure
from backup_sharing.model import Micros
from backup_sharing.store.interface import Store
from backup_sharing.timers import Later, Timer, later

_log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 256
"""Maximum ends recorded together, so that changes of callers wait only briefly behind them."""

SHORTEST_PAUSE: Final = 1.0
"""Minimum seconds between two looks, so that many sharings that end one by one are recorded together."""


class Sweeper:
    """Records due ends until it is cancelled. Any number of servers may do this on one database."""

    def __init__(self, store: Store, interval: float, clock: Callable[[], Micros], later: Later = later) -> None:
        """Look for nothing until `run`.

        Args:
            store: the store.
            interval: maximum seconds between two looks.
            clock: tells the time for `ends`; the store's own time decides whether a sharing has ended.
            later: sets timers.
        """
        self._store = store
        self._interval = interval
        self._clock = clock
        self._later = later
        self._look = asyncio.Event()
        self._earliest: Micros | None = None
        """Earliest end of which `ends` has told, and at which ``_timer`` expires."""
        self._timer: Timer | None = None

    def ends(self, at: Micros) -> None:
        """Look when a new sharing ends. Without this hint, its end is recorded up to the interval later."""
        seconds = max((at - self._clock()) / 1_000_000, SHORTEST_PAUSE)
        if seconds >= self._interval or (self._earliest is not None and at >= self._earliest):
            return  # another look comes before
        self._forget()
        self._earliest, self._timer = at, self._later(seconds, self._hinted)

    async def run(self) -> None:
        """Look for due sharings again and again: when the next one ends, and after the interval at the latest."""
        is_failing = False
        try:
            while True:
                self._look.clear()
                try:
                    pause = await self._sweep()
                    is_failing = False
                except Failure as failure:
                    if not is_failing:
                        _log.warning("the ends of sharings cannot be recorded now: %s Retrying.", failure.message)
                    is_failing = True
                    pause = self._interval
                except Exception:  # noqa: BLE001 -- a defect must not end the task: later sweeps may succeed
                    _log.exception("the ends of sharings cannot be recorded because of a defect; retrying")
                    pause = self._interval
                await self._wait(pause)
        finally:
            self._forget()

    async def _wait(self, seconds: float) -> None:
        """Wait for some seconds, at most until the end of a new sharing."""
        timer = self._later(seconds, self._look.set)
        try:
            await self._look.wait()
        finally:
            timer.cancel()

    def _hinted(self) -> None:
        self._forget()
        self._look.set()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._earliest = self._timer = None

    async def _sweep(self) -> float:
        """Record due ends; return the seconds until the next look."""
        swept = await self._store.end_due(MOST_AT_ONCE)
        if swept.next_in is None:
            return self._interval
        if swept.next_in <= 0 and swept.ended:
            return 0.0  # more are due; others get their turn first
        return min(self._interval, max(swept.next_in / 1_000_000, SHORTEST_PAUSE))
