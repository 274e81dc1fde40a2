"""The end of a store that cannot be relied on any more: only a fresh process can find out what it holds."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from backup_sharing.errors import Unavailable

_log = logging.getLogger(__name__)


class Breakdown:
    """Happens once or never, in any thread. From then on nothing may be changed, copied, closed or acknowledged."""

    def __init__(self) -> None:
        """For the event loop that runs now."""
        self.happened = asyncio.Event()
        """Set on that loop when it has happened."""
        self._loop = asyncio.get_running_loop()
        self._began = threading.Lock()
        self._stops: list[Callable[[], None]] = []

    @property
    def is_here(self) -> bool:
        """Whether it has happened, as each thread sees it at once."""
        return self._began.locked()

    def stops(self, *stops: Callable[[], None]) -> None:
        """Call these when it happens, in its thread. They must return soon, and may be called twice."""
        self._stops += stops

    def report(self, error: Exception) -> None:
        """Let it happen, because of this error."""
        if not self._began.acquire(blocking=False):
            return
        _log.critical(
            "the disk failed, so what was written to the database may not be stored; nothing more is changed, and the"
            " server has to be started again",
            exc_info=error,
        )
        for stop in self._stops:
            stop()
        self._loop.call_soon_threadsafe(self.happened.set)

    def check(self) -> None:
        """Raises `Unavailable` if it has happened."""
        if self.is_here:
            raise Unavailable("The disk of the store failed; the server has to be started again.")
