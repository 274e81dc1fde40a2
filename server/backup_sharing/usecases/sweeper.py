"""Records the ends of sharings that ended by themselves, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from backup_sharing.errors import Failure
from backup_sharing.store.interface import Store

_log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 256
"""Maximum ends recorded together, so that changes of callers wait only briefly behind them."""

SHORTEST_PAUSE: Final = 1.0
"""Minimum seconds between two looks, so that many sharings that end one by one are recorded together."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Records due ends until it is cancelled. Any number of servers may do this on one database."""

    store: Store
    interval: float
    """Maximum seconds between two looks."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def run(self) -> None:
        """Look for due sharings again and again: when the next one ends, and after the interval at the latest."""
        is_failing = False
        while True:
            try:
                pause = await self._sweep()
                is_failing = False
            except Failure as failure:
                if not is_failing:
                    _log.warning("the ends of sharings cannot be recorded now: %s Retrying.", failure.message)
                is_failing = True
                pause = self.interval
            except Exception:  # noqa: BLE001 -- a defect must not end the task: later sweeps may succeed
                _log.exception("the ends of sharings cannot be recorded because of a defect; retrying")
                pause = self.interval
            await self.sleep(pause)

    async def _sweep(self) -> float:
        """Record due ends; return the seconds until the next look."""
        swept = await self.store.end_due(MOST_AT_ONCE)
        if swept.next_in is None:
            return self.interval
        if swept.next_in <= 0 and swept.ended:
            return 0.0  # more are due; others get their turn first
        return min(self.interval, max(swept.next_in / 1_000_000, SHORTEST_PAUSE))
