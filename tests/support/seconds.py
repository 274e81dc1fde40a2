"""A clock that tests move."""

from __future__ import annotations


class Seconds:
    """Monotonic clock that stands still until a test changes ``now``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
