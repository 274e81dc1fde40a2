"""How many calls are carried out at once: reads and changes apart, and of each a share for every project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backup_sharing.fair_queue import FairQueue

COST_OF_ALL: Final = 32
"""What a change of all sharings of a backup costs: nobody knows before how many there are."""

_NEXT_READS: Final = 2
"""Reads that are given a turn before the store has room for them, so that it is never without one."""

_CHANGES: Final = 512
"""Recipients that all changes in progress name: two batches of the store, the one that is written and the next."""

_CHANGES_OF_PROJECT: Final = 64
"""The same of one project: enough for batches that are worth a commit, and others wait for no more than that."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns that calls wait for, by the project that calls."""

    reads: FairQueue
    """A read costs 1."""
    changes: FairQueue
    """A change costs as much as it names recipients."""


def cost_of(recipients: int) -> int:
    """Answer what a change costs that names so many recipients: at the most all that its project has."""
    return min(max(recipients, 1), _CHANGES_OF_PROJECT)


def turns_for(reads: int, waiting_of_project: int) -> Turns:
    """Answer the turns of a server.

    Args:
        reads: number of reads that the store carries out at once.
        waiting_of_project: number of calls of one project that may wait.
    """
    return Turns(
        reads=FairQueue(
            slots=reads + _NEXT_READS,
            # Half of what reads: others find some of it free, and the processors not all taken. Measured with small
            # reads of one project: more of them at once are no more a second, and others wait ten times as long.
            per_key=max(reads // 2, 1),
            waiting_per_key=waiting_of_project,
        ),
        changes=FairQueue(slots=_CHANGES, per_key=_CHANGES_OF_PROJECT, waiting_per_key=waiting_of_project),
    )
