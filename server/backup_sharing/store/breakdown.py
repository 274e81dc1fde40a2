"""Permanent failure of a store: only a new process can find out what the database holds."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from backup_sharing.errors import Unavailable

_log = logging.getLogger(__name__)


class Breakdown:
    """Happens at most once, in any thread. Then nothing may be changed, copied, closed or acknowledged."""

    def __init__(self) -> None:
        """Use the running event loop."""
        self.happened = asyncio.Event()
        """Set on the event loop after the breakdown."""
        self._loop = asyncio.get_running_loop()
        self._began = threading.Lock()
        self._stops: list[Callable[[], None]] = []

    @property
    def is_here(self) -> bool:
        """Whether the breakdown has happened; every thread sees the change at once."""
        return self._began.locked()

    def stops(self, *stops: Callable[[], None]) -> None:
        """Register functions to call at the breakdown, in its thread.

        They must return soon, and may be called twice.
        """
        self._stops += stops

    def report(self, error: Exception) -> None:
        """Cause the breakdown because of an error; later calls have no effect."""
        if not self._began.acquire(blocking=False):
            return
        _log.critical(
            "the disk failed, so data written to the database may not be stored; no more changes are made;"
            " restart the server",
            exc_info=error,
        )
        for stop in self._stops:
            stop()
        self._loop.call_soon_threadsafe(self.happened.set)

    def check(self) -> None:
        """Raise `Unavailable` after the breakdown."""
        if self.is_here:
            raise Unavailable("The disk of the store failed; the server has to be started again.")
