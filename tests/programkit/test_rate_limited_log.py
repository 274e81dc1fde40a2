"""Rate-limited log lines, for events that clients can cause at will."""

from __future__ import annotations

import structlog

from programkit.rate_limited_log import RateLimitedLog


def test_lines_that_come_too_fast_are_counted_and_left_out() -> None:
    now = 0.0
    with structlog.testing.capture_logs() as logged:
        log = RateLimitedLog("any", burst=3, per_second=2.0, clock=lambda: now)
        for number in range(10):
            log.info("refused", number=number)
        now = 1.0
        log.info("refused", number=10)
        log.warning("refused", number=11)
        log.warning("refused", number=12)
    assert [line["number"] for line in logged] == [0, 1, 2, 10, 11]
    assert [line.get("left_out") for line in logged] == [None, None, None, 7, None]
