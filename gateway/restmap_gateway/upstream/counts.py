"""Counters of the connections to all servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FRAME_CALLS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper bounds of the buckets of `UpstreamCounts.by_calls`."""


@dataclass(slots=True)
class UpstreamCounts:
    """Totals since the start, for one event loop."""

    by_calls: list[int] = field(default_factory=lambda: [0] * (len(FRAME_CALLS) + 1))
    """Frames with calls, by their number of calls: up to each of `FRAME_CALLS`, and more."""
    calls: int = 0
    """Calls sent in frames."""
    frames_received: int = 0
    streams_opened: int = 0
    """Multiplexed streams that a server has confirmed."""
    streams_ended: int = 0
    """Those of them that have ended."""
    singles: int = 0
    """Unary calls sent outside a stream."""
    retries: int = 0
    """Unary calls sent again, to the same server or to another one."""

    def frame_sent(self, calls: int) -> None:
        """Count a frame; one without calls, which only cancels calls, does not count."""
        if calls:
            self.by_calls[min((calls - 1).bit_length(), len(FRAME_CALLS))] += 1
            self.calls += calls
