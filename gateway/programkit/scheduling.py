"""The scheduling policy of this process."""

from __future__ import annotations

import os


def schedule_as_batch() -> None:
    """Select Linux's SCHED_BATCH policy for this process; do nothing on other systems.

    SCHED_BATCH stops gRPC's poller thread from preempting the event loop: 1.2 to 1.5 times the throughput.
    """
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
