"""Readiness for a load balancer in front: ready while a server can be reached and this process does not stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from restmap_gateway.errors import RequestFailed
from restmap_gateway.transcode.pages import Page

PATH: Final = "/healthz"
"""Path of the readiness page, unless a rule serves this path."""

_POLL_SECONDS: Final = 60.0
"""Seconds since the last poll during which another poll is expected."""

_READY: Final = Page("application/json", b'{"status":"SERVING"}', {"Cache-Control": "no-store"})


class Readiness:
    """Reports readiness and remembers the last poll."""

    def __init__(self, why_unreachable: Callable[[], str | None], clock: Callable[[], float] = time.monotonic) -> None:
        """Report not ready while ``why_unreachable`` returns a reason; it must ask no server."""
        self._why_unreachable = why_unreachable
        self._clock = clock
        self._polled_at: float | None = None
        self.is_draining = False
        """Whether this process is about to stop."""

    @property
    def is_watched(self) -> bool:
        """Return whether somebody polled lately and so will see that this process is about to stop."""
        return self._polled_at is not None and self._clock() - self._polled_at < _POLL_SECONDS

    def drain(self) -> None:
        """Report from now on that no more requests should be sent here."""
        self.is_draining = True

    async def page(self) -> Page:
        """Return the page that reports readiness.

        Raises:
            RequestFailed: 503, this process is about to stop, or no server can be reached.
        """
        self._polled_at = self._clock()
        if self.is_draining:
            raise RequestFailed(503, "This gateway is about to stop.")
        if (why := self._why_unreachable()) is not None:
            raise RequestFailed(503, why)
        return _READY
