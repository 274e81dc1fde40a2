"""One watch: the messages for one client, in order, from a position on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from backup_sharing.model import Event
from backup_sharing.store.interface import EventFilter
from backup_sharing.timers import Later
from backup_sharing.usecases.watching.entry import Encoding, Entry, matches
from backup_sharing.usecases.watching.feed import Feed


class Watch:
    """Reads a feed for one client. Its memory is bounded: it takes no events while its client does not read."""

    def __init__(
        self,
        feed: Feed,
        encoding: Encoding,
        later: Later,
        *,
        store_id: str,
        filter: EventFilter,
        viewer: str | None,
        position: int,
        newest: int,
        key: str,
        checkpoint_seconds: float,
    ) -> None:
        """Begin after ``position``.

        Args:
            feed: the feed, which the watch has joined; `close` leaves it.
            encoding: encodes the messages.
            later: sets timers.
            store_id: id of the store, for cursors.
            filter: events to send, by project, backup and kind.
            viewer: project that sees the events; None: a caller who sees all of them.
            position: place after which the watch begins.
            newest: place of the newest event when the watch begins; the feed may have read less by then.
            key: project whose turn it is when this watch reads the log.
            checkpoint_seconds: seconds without an event after which a message tells how far the watch has come.
        """
        self.filter = filter
        self.position = position
        """Position up to which the watch has come."""
        self._newest = newest
        self._feed = feed
        self._encoding = encoding
        self._later = later
        self._store_id = store_id
        self._viewer = viewer
        self._key = key
        self._checkpoint_seconds = checkpoint_seconds
        self._has_told = False
        """Whether the client knows a cursor of this watch."""
        self._news: asyncio.Future[bool] | None = None
        """While the watch waits; true: there are events, false: it is time for a checkpoint."""
        feed.watches.add(self)

    @property
    def is_waiting(self) -> bool:
        """See `Open.is_waiting`."""
        return self._news is not None

    async def read(self) -> Sequence[bytes]:
        """Return the next messages, at least one; wait for them.

        The first message of a watch without past events is a checkpoint, so that a client can continue from there.

        Raises:
            CursorExpired: the log no longer keeps the next events.
            Unavailable: the log cannot be read.
        """
        while True:
            if self.position < max(self._feed.head, self._newest):
                if messages := await self._events():
                    self._has_told = True
                    return messages
            elif not self._has_told or not await self._has_news():
                self._has_told = True
                return [self._encoding.checkpoint(self._store_id, self.position)]

    def close(self) -> None:
        """End the watch."""
        self._feed.watches.discard(self)
        self._feed.forget(self)
        self._feed.leave()

    def wants(self, event: Event) -> bool:
        """See `Waiting.wants`."""
        return matches(self.filter, event)

    def wake(self, position: int) -> None:
        """See `Waiting.wake`."""
        self.position = position
        self._tell(is_event=True)

    def fail(self, error: Exception) -> None:
        """See `Waiting.fail`."""
        if self._news is not None and not self._news.done():
            self._news.set_exception(error)

    def _tell(self, *, is_event: bool) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(is_event)

    async def _has_news(self) -> bool:
        """Wait for an event, at most until the next checkpoint; return whether there is one."""
        self._news = asyncio.get_running_loop().create_future()
        self._feed.wait(self)
        timer = self._later(self._checkpoint_seconds, self._time_is_up)
        try:
            return await self._news
        finally:
            timer.cancel()
            self._feed.forget(self)
            self._news = None

    def _time_is_up(self) -> None:
        if self._news is not None and not self._news.done():
            # No event that the feed has read so far was for this watch.
            self.position = max(self.position, self._feed.head)
            self._tell(is_event=False)

    async def _events(self) -> Sequence[bytes]:
        """Return the messages of the next events, possibly none, and go on behind them."""
        # A feed that other watches have joined before may be behind the beginning of this watch.
        entries = self._feed.recent(self.position) if self._feed.head >= self._newest else None
        if entries is None:
            entries = await self._page()
        else:
            self.position = entries[-1].position
        viewer, encoding = self._viewer, self._encoding
        return [entry.encoded(self._store_id, viewer, encoding) for entry in entries if self.wants(entry.stored.event)]

    async def _page(self) -> Sequence[Entry]:
        head = max(self._feed.head, self._newest)
        page = await self._feed.page(self.filter, self.position, self._key, self._store_id)
        if page.items:
            self.position = page.items[-1].position
        if not page.more:
            # The page had everything up to the head of that time, and perhaps more.
            self.position = max(self.position, head)
        return [Entry(stored) for stored in page.items]
