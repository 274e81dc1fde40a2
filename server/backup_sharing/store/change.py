"""A change that somebody waits for."""

from __future__ import annotations

from backup_sharing.rules.commands import Command
from backup_sharing.rules.outcome import NotMade, Outcome
from backup_sharing.store.waiter import Waiter, Waiters


class Change(Waiter):
    """A command and its caller, on the event loop that made it."""

    __slots__ = ("command", "pause", "tries")

    def __init__(self, waiters: Waiters, command: Command) -> None:
        super().__init__(waiters, command.cause.commit_by, command.cause.answer_by)
        self.command = command
        self.pause = 0.0
        """Seconds that it waited last because others had locked what it is about; 0: it met with none."""
        self.tries = 0
        """How often it failed when it was tried by itself."""

    def settle(self, outcome: Outcome) -> None:
        """Tell the caller what became of the change."""
        if isinstance(outcome, NotMade):
            self.fail(outcome.failure)
        else:
            self.answer(outcome.answer)
