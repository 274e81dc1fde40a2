"""Rate limit for log lines that a client can cause."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog


class RateLimitedLog:
    """Logs up to ``burst`` lines at once and ``per_second`` on average; the next line counts the dropped lines."""

    def __init__(
        self, name: str, *, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Log as ``name``."""
        self._log = structlog.get_logger(name)
        self._most = float(burst)
        self._per_second = per_second
        self._clock = clock
        self._left = float(burst)
        self._counted_at = clock()
        self._left_out = 0

    def info(self, event: str, **values: object) -> None:
        """Log an event, or count it as dropped."""
        if self._may_log():
            self._log.info(event, **self._counted(values))

    def warning(self, event: str, **values: object) -> None:
        """Log an event, or count it as dropped."""
        if self._may_log():
            self._log.warning(event, **self._counted(values))

    def _may_log(self) -> bool:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True

    def _counted(self, values: dict[str, object]) -> dict[str, object]:
        left_out, self._left_out = self._left_out, 0
        return {**values, "left_out": left_out} if left_out else values
