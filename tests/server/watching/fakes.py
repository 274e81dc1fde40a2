"""A log of events in memory, timers that a test fires, and a reader of a watch's messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from backup_sharing.errors import Failure
from backup_sharing.fair_queue import FairQueue
from backup_sharing.model import Event, Page
from backup_sharing.rpc.watching.watch_service import WatchEncoding
from backup_sharing.store.interface import EventFilter, LogBounds, StoredEvent
from backup_sharing.usecases.watching.entry import matches
from backup_sharing.usecases.watching.feed import Feed
from backup_sharing.usecases.watching.watch import Watch
from backupsharing.v2 import backup_access_pb2 as pb
from tests.server.identities import BACKUP, GIVER, NOW, RECIPIENT, REQUEST_ID

STORE = "0123456789abcdef"


def event(to: str | None = RECIPIENT, *, by: str = GIVER, backup_id: str = BACKUP, kind: str = "shared") -> Event:
    return Event(kind, NOW, by, "gina", REQUEST_ID, backup_id, by, None if to is None else f"sharing-{to}", to)


@dataclass
class FakeLog:
    """An `EventLog`; other processes write to it by `add`."""

    events: list[StoredEvent] = field(default_factory=list)
    oldest: int = 0
    failure: Exception | None = None
    reads: int = 0
    """Reads at the head."""
    pages: int = 0
    read: asyncio.Condition = field(default_factory=asyncio.Condition)
    hold: asyncio.Event | None = None
    """If set, pages wait for it."""

    def add(self, *events: Event) -> None:
        start = self.events[-1].position if self.events else self.oldest
        self.events += [StoredEvent(start + number, each) for number, each in enumerate(events, 1)]

    def purge(self, oldest: int) -> None:
        self.oldest = oldest
        self.events = [each for each in self.events if each.position > oldest]

    async def log_bounds(self) -> LogBounds:
        self._fail()
        return LogBounds(STORE, self.oldest, self.events[-1].position if self.events else self.oldest)

    async def events_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        await asyncio.sleep(0)
        async with self.read:
            self.reads += 1
            self.read.notify_all()
        self._fail()
        return [each for each in self.events if each.position > position][:limit]

    async def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Page[StoredEvent]:
        assert not descending
        assert not offset
        self.pages += 1
        if self.hold is not None:
            await self.hold.wait()
        self._fail()
        found = [each for each in self.events if each.position > (after or 0) and matches(filter, each.event)]
        return Page(found[:limit], len(found) > limit)

    async def until_read(self, times: int = 1) -> None:
        """Wait for further reads at the head."""
        until = self.reads + times
        async with self.read:
            await self.read.wait_for(lambda: self.reads >= until)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class ManualTimer:
    def __init__(self, timers: ManualTimers, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds, self._timers, self._callback = seconds, timers, callback

    def cancel(self) -> None:
        self._timers.waiting.pop(self, None)

    def fire(self) -> None:
        self.cancel()
        self._callback()


class ManualTimers:
    """Timers that expire when a test says so."""

    def __init__(self) -> None:
        self.waiting: dict[ManualTimer, None] = {}
        self.set = asyncio.Event()

    def __call__(self, seconds: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self, seconds, callback)
        self.waiting[timer] = None
        self.set.set()
        return timer

    def fire(self, seconds: float) -> int:
        """Fire all timers that were set for ``seconds``; return their number."""
        due = [timer for timer in self.waiting if timer.seconds == seconds]
        for timer in due:
            timer.fire()
        return len(due)

    async def fire_when_set(self, seconds: float) -> None:
        """Fire the timers for ``seconds`` once there are some."""
        while not self.fire(seconds):
            self.set.clear()
            await self.set.wait()


class CountingEncoding(WatchEncoding):
    """Counts how often each event is encoded."""

    def __init__(self) -> None:
        self.encoded: list[tuple[int, str | None]] = []

    def event(self, store_id: str, stored: StoredEvent, viewer: str | None) -> bytes:
        self.encoded.append((stored.position, viewer))
        return super().event(store_id, stored, viewer)


def turn() -> Callable[[str], AbstractAsyncContextManager[None]]:
    return FairQueue(slots=4, per_key=2, waiting_per_key=10_000).turn


@dataclass
class Watchers:
    """A feed of a log, and watches of it."""

    log: FakeLog = field(default_factory=FakeLog)
    timers: ManualTimers = field(default_factory=ManualTimers)
    encoding: CountingEncoding = field(default_factory=CountingEncoding)
    kept: int = 2048
    now: float = 0.0
    """Reading of the feed's clock, in seconds."""
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.feed = Feed(self.log, turn(), self.timers, lambda: self.now, kept=self.kept)

    def open(self, project_id: str | None = None, position: int | None = None, **filter: str) -> Watch:
        newest = self.log.events[-1].position if self.log.events else self.log.oldest
        self.feed.join(newest)
        return Watch(
            self.feed,
            self.encoding,
            self.timers,
            store_id=STORE,
            filter=EventFilter(project_id=project_id, **filter),
            viewer=project_id,
            position=newest if position is None else position,
            newest=newest,
            key=project_id or "",
            checkpoint_seconds=30.0,
        )

    def commit(self, *events: Event) -> None:
        """Add events, and hint at them as a store of this process does."""
        self.log.add(*events)
        self.feed.hint()


async def took(watch: Watch, number: int) -> list[pb.WatchSharingsResponse]:
    """Return at least ``number`` messages with an event."""
    found: list[pb.WatchSharingsResponse] = []
    while len(found) < number:
        messages = [pb.WatchSharingsResponse.FromString(each) for each in await watch.read()]
        found += [each for each in messages if each.HasField("event")]
    return found


def positions(messages: Sequence[pb.WatchSharingsResponse]) -> list[int]:
    assert all(each.cursor == each.event.cursor for each in messages)
    return [int(each.cursor.partition(":")[2]) for each in messages]


def failing(reason: type[Failure]) -> Failure:
    return reason("cannot be read")
