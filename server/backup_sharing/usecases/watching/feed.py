"""The feed: one reader of the log for all watches that have reached its newest event.

The feed keeps the last events in memory. A watch that waits costs nothing until an event for it arrives; a watch that
has fallen behind the kept events reads pages of the log by itself until it has caught up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from weakref import WeakSet

from backup_sharing.errors import CursorExpired, Failure, Unavailable
from backup_sharing.model import Event, Micros, Page
from backup_sharing.store.interface import EventFilter, EventLog, LogBounds, StoredEvent
from backup_sharing.timers import Later, later
from backup_sharing.usecases import cursor
from backup_sharing.usecases.watching.entry import Entry

POLL_SECONDS: Final = 0.1
"""Seconds between two reads of the log for changes by other processes, while somebody watches."""

_PAUSE_AFTER_FAILURE: Final = 0.5
UNREADABLE_SECONDS: Final = 10.0
"""Seconds without a successful read after which the waiting watches end."""

_SPACING: Final = 0.005
"""Minimum seconds between two reads, so that a busy store is not read after each of its commits."""

_PAGE: Final = 500
"""Maximum events of one read at the head."""

KEPT: Final = 2048
"""Events that the feed keeps, each with up to two encoded messages: some megabytes."""

PIECE: Final = 64
"""Maximum events that one watch takes at once: the memory of a watch whose client does not read."""

_log = logging.getLogger(__name__)


class Waiting(Protocol):
    """A watch that has sent everything and waits for events."""

    filter: EventFilter
    position: int
    """Position up to which the watch has come."""

    def wants(self, event: Event) -> bool:
        """Return whether the watch sends this event."""
        ...

    def wake(self, position: int) -> None:
        """Go on after ``position``: there are events for this watch behind it, and none before it."""
        ...

    def fail(self, error: Exception) -> None:
        """End the watch."""
        ...


class Open(Protocol):
    """An open watch."""

    position: int
    """Position up to which the watch has come."""

    @property
    def is_waiting(self) -> bool:
        """Whether the watch has sent everything and waits for events."""
        ...


class Feed:
    """The events of one log, for any number of watches on one event loop."""

    def __init__(
        self,
        log: EventLog,
        turn: Callable[[str], AbstractAsyncContextManager[None]],
        later: Later = later,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        kept: int = KEPT,
        observe: Callable[[Micros], None] | None = None,
    ) -> None:
        """Read nothing until a watch joins.

        Args:
            log: the log of events.
            turn: returns the turn of a project for one read, so that watches that catch up do not delay other calls.
            later: sets timers.
            monotonic: monotonic clock in seconds.
            kept: number of the last events to keep.
            observe: called with the time of each event that is read at the head; must return at once.
        """
        self._observe = observe
        self.watches: WeakSet[Open] = WeakSet()
        """Open watches; measuring them keeps none alive."""
        self.reads = 0
        """Number of reads at the head so far."""
        self.failures = 0
        """Number of those that failed."""
        self._log = log
        self._turn = turn
        self._later = later
        self._monotonic = monotonic
        self._kept = kept
        self._members = 0
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._waiting: dict[str | None, dict[Waiting, None]] = {}
        """Waiting watches by the project that they watch; None: all projects."""
        self._recent: list[Entry] = []
        self._recent_after = 0
        """Every event after this position, up to the head, is in ``_recent``."""
        self._head = 0

    @property
    def head(self) -> int:
        """Position up to which the feed has read the log."""
        return self._head

    @property
    def lag(self) -> int:
        """Number of positions that the slowest open watch is behind the head; 0 if every watch waits for events."""
        return max((self._head - watch.position for watch in list(self.watches) if not watch.is_waiting), default=0)

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches, so that the log is not read."""
        return self._reader is None

    async def bounds(self) -> LogBounds:
        """Return the bounds of the log."""
        return await self._log.log_bounds()

    def join(self, newest: int) -> None:
        """Count a watch; follow each with `leave`. ``newest``: position of an event that is committed."""
        self._members += 1
        if self._reader is None:
            self._head = self._recent_after = newest
            self._reader = asyncio.create_task(self._follow())

    def leave(self) -> None:
        """End a watch; the last one ends the reading."""
        self._members -= 1
        if not self._members and self._reader is not None:
            self._reader.cancel()
            self._reader = None
            self._recent.clear()

    def hint(self) -> None:
        """Read the log soon, because something was committed."""
        if self._reader is not None:
            self._news.set()

    def recent(self, position: int) -> Sequence[Entry] | None:
        """Return up to `PIECE` events after a position; None if the feed no longer keeps the first of them."""
        if position < self._recent_after:
            return None
        start = bisect_right(self._recent, position, key=lambda entry: entry.position)
        return self._recent[start : start + PIECE]

    async def page(self, filter: EventFilter, position: int, key: str, store_id: str) -> Page[StoredEvent]:
        """Read up to `PIECE` events after a position from the log; ``key``: the project whose turn it is.

        Raises:
            CursorExpired: events after the position are no longer kept.
        """
        async with self._turn(key):
            page = await self._log.list_events(filter, PIECE, 0, position, descending=False)
            # After the page, because events may be deleted at any time before.
            bounds = await self._log.log_bounds()
        if position < bounds.oldest:
            raise CursorExpired(cursor.encode(store_id, bounds.oldest))
        return page

    def wait(self, watch: Waiting) -> None:
        """Wake a watch, which has come to the head, at the next event that it wants."""
        self._waiting.setdefault(watch.filter.project_id, {})[watch] = None

    def forget(self, watch: Waiting) -> None:
        """Do not wake a watch any more."""
        project_id = watch.filter.project_id
        waiting = self._waiting.get(project_id)
        if waiting is not None:
            waiting.pop(watch, None)
            if not waiting:
                del self._waiting[project_id]

    async def _follow(self) -> None:
        """Read the log until nobody watches."""
        failing_since: float | None = None
        while True:
            self._news.clear()
            began = self._monotonic()
            self.reads += 1
            try:
                events = await self._log.events_after(self._head, _PAGE)
            except Exception as error:  # noqa: BLE001 -- a defect must end the watches, not leave them silent
                failing_since = began if failing_since is None else failing_since
                self.failures += 1
                if not isinstance(error, Failure):
                    _log.exception("reading the log of events failed because of a defect")
                if self._monotonic() - failing_since >= UNREADABLE_SECONDS:
                    self._end_all()
                await self._pause(_PAUSE_AFTER_FAILURE)
                continue
            failing_since = None
            if events and events[0].position > self._head + 1:
                self._leap(events[0].position - 1)
            self._deliver(events)
            if len(events) < _PAGE:
                await self._pause(POLL_SECONDS)
                if (soon := began + _SPACING - self._monotonic()) > 0:
                    await asyncio.sleep(soon)

    def _end_all(self) -> None:
        """End all waiting watches; the others notice by themselves that the log cannot be read, or wait later."""
        for watch in [watch for waiting in self._waiting.values() for watch in waiting]:
            self.forget(watch)
            watch.fail(Unavailable("The events cannot be read at present; continue with the last cursor."))

    async def _pause(self, seconds: float) -> None:
        """Wait for a hint, at most ``seconds``."""
        timer = self._later(seconds, self._news.set)
        try:
            await self._news.wait()
        finally:
            timer.cancel()

    def _leap(self, position: int) -> None:
        """Go on after a position although the log no longer has all events before it: each watch must look by itself.

        A watch reads a page of the log, which raises `CursorExpired` if events were deleted.
        """
        self._recent.clear()
        self._recent_after = self._head = position
        for watch in [watch for waiting in self._waiting.values() for watch in waiting]:
            self.forget(watch)
            watch.wake(watch.position)

    def _deliver(self, events: Sequence[StoredEvent]) -> None:
        for stored in events:
            if self._observe is not None:
                self._observe(stored.event.at)
            self._recent.append(Entry(stored))
            self._head = stored.position
            event = stored.event
            for project_id in {None, event.from_project_id, event.to_project_id}:
                # A watch that read a page of the log may be ahead of the feed.
                wanting = [
                    watch
                    for watch in self._waiting.get(project_id, ())
                    if watch.position < stored.position and watch.wants(event)
                ]
                for watch in wanting:
                    self.forget(watch)
                    watch.wake(stored.position - 1)
        if len(self._recent) > 2 * self._kept:
            gone = len(self._recent) - self._kept
            self._recent_after = self._recent[gone - 1].position
            del self._recent[:gone]
