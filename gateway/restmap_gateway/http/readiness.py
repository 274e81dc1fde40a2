"""Whether a load balancer in front should send requests here: yes, until this process is about to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from restmap_gateway.errors import RequestFailed
from restmap_gateway.transcode.pages import Page

PATH: Final = "/healthz"
"""Where it is told, unless a rule serves this path."""

_ASKED_LATELY: Final = 60.0
"""Seconds since somebody asked, for which it is taken that he asks again."""

_READY: Final = Page("application/json", b'{"status":"SERVING"}', {"Cache-Control": "no-store"})


class Readiness:
    """Says so, and remembers whether anybody asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked_at: float | None = None
        self.is_draining = False
        """Whether this process is about to stop."""

    @property
    def is_watched(self) -> bool:
        """Whether somebody has asked lately, and will learn that this process is about to stop."""
        return self._asked_at is not None and self._clock() - self._asked_at < _ASKED_LATELY

    def drain(self) -> None:
        """From now on say that no more requests should be sent here."""
        self.is_draining = True

    def page(self) -> Page:
        """The page that says that requests are taken.

        Raises:
            RequestFailed: 503, this process is about to stop.
        """
        self._asked_at = self._clock()
        if self.is_draining:
            raise RequestFailed(503, "This gateway is about to stop.")
        return _READY
