"""A change with a waiting caller."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backup_sharing.rules.commands import Command
from backup_sharing.rules.outcome import Failed, Outcome
from backup_sharing.store.waiter import Waiter, Waiters
from programkit.stages import Batch, Stages


class BatchTimes:
    """The progress of a batch, written by its writer in any thread: readings of ``time.perf_counter()``."""

    __slots__ = ("batch", "committed", "decided", "locked", "taken")

    def __init__(self, batch: Batch) -> None:
        """Begin now, as a writer takes the batch."""
        self.batch = batch
        self.taken = time.perf_counter()
        self.locked: float | None = None
        """The database lets the writer write; of the last attempt."""
        self.decided: float | None = None
        """The outcomes are decided, and their commit begins; of the last attempt."""
        self.committed: float | None = None
        """The commit has ended."""

    def add_to(self, stages: Stages) -> None:
        """Add the stages of a change of this batch, whose caller has its answer."""
        stages.batch = self.batch
        stages.end("waiting", self.taken)
        for stage, at in (("lock", self.locked), ("decision", self.decided), ("commit", self.committed)):
            if at is not None:
                stages.end(stage, at)
        stages.end("reply")


class Change(Waiter):
    """A command and its caller; belongs to the event loop that created it."""

    __slots__ = ("command", "pause", "times", "tries")

    def __init__(self, waiters: Waiters, command: Command) -> None:
        super().__init__(waiters, command.cause.commit_by, command.cause.answer_by)
        self.command = command
        self.pause = 0.0
        """Seconds of the last wait for locks of others; 0: the change has not waited for any."""
        self.tries = 0
        """Number of failed attempts to make the change alone."""
        self.times: BatchTimes | None = None
        """Progress of the batch that has the change; None: no batch has it."""

    def settle(self, outcome: Outcome) -> None:
        """Report the outcome to the caller."""
        if isinstance(outcome, Failed):
            self.fail(outcome.failure)
        else:
            self.answer(outcome.answer)


def times_of(batch: Sequence[Change]) -> BatchTimes:
    """Return the progress of a batch."""
    known = batch[0].times if batch else None
    return known if known is not None else BatchTimes(Batch(0, len(batch)))
