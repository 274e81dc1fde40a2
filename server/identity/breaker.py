"""Leaving a service alone that does not answer."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Opens after failures in a row; then lets one call through every so often, until one succeeds."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        """Open after ``failures`` in a row, for ``seconds`` by a monotonic clock before each new trial."""
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._closed_until_trial = 0.0

    def lets_through(self) -> bool:
        """Whether a call may be made now. Who is let through must tell how it went."""
        if self._failures < self._most:
            return True
        now = self._clock()
        if now < self._closed_until_trial:
            return False
        self._closed_until_trial = now + self._seconds  # the next trial, should this one say nothing
        return True

    def succeeded(self) -> None:
        """The service answered."""
        self._failures = 0

    def failed(self) -> None:
        """The service did not answer, or not as it should."""
        self._failures += 1
        if self._failures >= self._most:
            self._closed_until_trial = self._clock() + self._seconds
