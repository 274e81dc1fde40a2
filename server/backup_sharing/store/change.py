"""A change with a waiting caller."""

from __future__ import annotations

from backup_sharing.rules.commands import Command
from backup_sharing.rules.outcome import Failed, Outcome
from backup_sharing.store.waiter import Waiter, Waiters


class Change(Waiter):
    """A command and its caller; belongs to the event loop that created it."""

    __slots__ = ("command", "pause", "tries")

    def __init__(self, waiters: Waiters, command: Command) -> None:
        super().__init__(waiters, command.cause.commit_by, command.cause.answer_by)
        self.command = command
        self.pause = 0.0
        """Seconds of the last wait for locks of others; 0: the change has not waited for any."""
        self.tries = 0
        """Number of failed attempts to make the change alone."""

    def settle(self, outcome: Outcome) -> None:
        """Report the outcome to the caller."""
        if isinstance(outcome, Failed):
            self.fail(outcome.failure)
        else:
            self.answer(outcome.answer)
