"""Clocks that tests move."""

from __future__ import annotations

import time


class Clocks:
    """A wall clock, which can jump, and a monotonic clock."""

    def __init__(self) -> None:
        self._wall = 0.0
        self._monotonic = 0.0

    def wall(self) -> float:
        return time.time() + self._wall

    def monotonic(self) -> float:
        return time.monotonic() + self._monotonic

    def pass_(self, seconds: float) -> None:
        self._wall += seconds
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        self._wall -= seconds
