"""Limits on concurrent reads and on concurrent changes, each shared fairly between projects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backup_sharing.fair_queue import FairQueue

COST_OF_ALL: Final = 32
"""Cost of a change of all sharings of a backup, whose number is not known before the change."""

_NEXT_READS: Final = 2
"""Reads with a turn beyond those that the store can run, so that the store never idles."""

_CHANGES: Final = 512
"""Maximum total cost of changes in progress: two batches of the store, the one being written and the next."""

_CHANGES_OF_PROJECT: Final = 64
"""Maximum total cost of one project's changes: enough for an efficient batch, and a short wait for other projects."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The queues of calls; the key is the caller's project."""

    reads: FairQueue
    """Reads; each costs 1."""
    changes: FairQueue
    """Changes; each costs its number of recipients."""


def cost_of(recipients: int) -> int:
    """Return the cost of a change with this number of recipients: at most the bound of one project."""
    return min(max(recipients, 1), _CHANGES_OF_PROJECT)


def turns_for(reads: int, waiting_of_project: int) -> Turns:
    """Return the queues of a server.

    Args:
        reads: number of reads that the store runs concurrently.
        waiting_of_project: maximum waiting calls of one project.
    """
    return Turns(
        reads=FairQueue(
            slots=reads + _NEXT_READS,
            # Half of the readers, so that other projects find readers and processors free. Measured with small reads
            # of one project: more concurrent reads give no more throughput, and other projects wait ten times longer.
            per_key=max(reads // 2, 1),
            waiting_per_key=waiting_of_project,
        ),
        changes=FairQueue(slots=_CHANGES, per_key=_CHANGES_OF_PROJECT, waiting_per_key=waiting_of_project),
    )
