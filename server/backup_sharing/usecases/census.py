"""Counts backups and active sharings in the background, a small part at a time.

A count of ten million rows at once would occupy a reader for seconds, a counter in a table would be one row that all
changes write, and a number kept in memory would miss the changes of other servers. So the rows are counted in parts of
some milliseconds, with pauses between them. A count is exact for each part at the time when the part was counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from backup_sharing.errors import Failure
from backup_sharing.store.listing import Counted, Part

_log = logging.getLogger(__name__)

PART: Final = 5000
"""Rows of a part: a read of a few milliseconds."""

_SHARE: Final = 0.05
"""Maximum share of one reader's time."""

PAUSE: Final = 60.0
"""Seconds between two counts, and before a retry after a failure."""

TURN: Final = " census"
"""Key of the turns; no project has this id."""


class Countable(Protocol):
    """A store whose rows can be counted."""

    async def count_part(self, counted: Counted, after: str, limit: int) -> Part:
        """Count the next ``limit`` rows after a key; an empty key: from the first row on."""
        ...


@dataclass(frozen=True, slots=True)
class Count:
    """The result of a complete count."""

    number: int
    at: float
    """Monotonic time of its end."""


class Census:
    """The last complete counts."""

    def __init__(
        self,
        store: Countable,
        turn: Callable[[str], AbstractAsyncContextManager[None]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Count nothing before `run`.

        Args:
            store: the store.
            turn: returns the turn for one read, so that counting does not delay other calls.
            monotonic: monotonic clock in seconds.
            sleep: waits for some seconds.
        """
        self._store = store
        self._turn = turn
        self._monotonic = monotonic
        self._sleep = sleep
        self._counts: dict[Counted, Count] = {}

    def number(self, counted: Counted) -> int | None:
        """Return the result of the last complete count; None before the first."""
        count = self._counts.get(counted)
        return None if count is None else count.number

    def age(self, counted: Counted) -> float | None:
        """Return the seconds since the end of the last complete count; None before the first."""
        count = self._counts.get(counted)
        return None if count is None else self._monotonic() - count.at

    async def run(self) -> None:
        """Count again and again, until cancelled. A count that fails is retried later; its last result stays."""
        while True:
            for counted in Counted:
                try:
                    number = await self._count(counted)
                except Failure:
                    continue  # the store cannot be read now, which other metrics and the log show
                except Exception:  # noqa: BLE001 -- a defect must not end the task: later counts may succeed
                    _log.exception("the %s cannot be counted because of a defect; retrying", counted.value)
                    continue
                self._counts[counted] = Count(number, self._monotonic())
            await self._sleep(PAUSE)

    async def _count(self, counted: Counted) -> int:
        total, after = 0, ""
        while True:
            async with self._turn(TURN):
                began = self._monotonic()
                part = await self._store.count_part(counted, after, PART)
                seconds = self._monotonic() - began
            total, after = total + part.rows, part.last
            if part.rows < PART:
                return total
            await self._sleep(seconds / _SHARE)
