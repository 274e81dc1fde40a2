"""Deletes old events and ended sharings, in the background or by hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from backup_sharing.errors import Failure
from backup_sharing.model import Micros
from backup_sharing.store.interface import Retention

_log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 256
"""Maximum rows deleted together, so that changes of callers wait only briefly behind them."""

PAUSE: Final = 0.02
"""Seconds between two deletions, several times the duration of one: callers get most of the database's time."""

_PRECISION: Final = 100
"""A look follows after a hundredth of the time to keep, but not before `_SOONEST` or after `_LATEST` seconds."""
_SOONEST: Final = 1.0
_LATEST: Final = 60.0

Sleep = Callable[[float], Awaitable[object]]
Delete = Callable[[Micros, int], Awaitable[int]]
"""`Retention.purge_events` or `Retention.purge_sharings`."""


async def delete_all(delete: Delete, before: Micros, advance: Callable[[int], object], sleep: Sleep) -> None:
    """Delete all rows before a time, a few at once; call ``advance`` with the number of rows found each time.

    Others may delete the same rows meanwhile, and then a row is found more than once. Raises like a change: what was
    deleted stays deleted, so the same call may be made again.
    """
    while found := await delete(before, MOST_AT_ONCE):
        advance(found)
        await sleep(PAUSE)


@dataclass(frozen=True, slots=True)
class Purger:
    """Deletes old data until it is cancelled. Any number of servers may do this on one database."""

    store: Retention
    keep_events: Micros
    """Microseconds to keep events; 0: for ever."""
    keep_sharings: Micros
    """Microseconds to keep sharings after they were cancelled or have ended; 0: for ever."""
    sleep: Sleep = asyncio.sleep

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        shortest = min(filter(None, (self.keep_events, self.keep_sharings)), default=0)
        return min(max(shortest / 1_000_000 / _PRECISION, _SOONEST), _LATEST)

    async def run(self) -> None:
        """Look for old data again and again."""
        is_failing = False
        while True:
            try:
                await self._purge()
                is_failing = False
            except Failure as failure:
                if not is_failing:
                    _log.warning("old data cannot be deleted now: %s Retrying.", failure.message)
                is_failing = True
            except Exception:  # noqa: BLE001 -- a defect must not end the task: later looks may succeed
                _log.exception("old data cannot be deleted because of a defect; retrying")
            await self.sleep(self.interval)

    async def _purge(self) -> None:
        now = await self.store.time()
        await self._delete("events", self.store.purge_events, now, self.keep_events)
        await self._delete("ended sharings", self.store.purge_sharings, now, self.keep_sharings)

    async def _delete(self, what: str, delete: Delete, now: Micros, keep: Micros) -> None:
        if not keep:
            return
        found: list[int] = []
        try:
            await delete_all(delete, now - keep, found.append, self.sleep)
        finally:
            if found:
                _log.info("deleted old %s: %d", what, sum(found))
