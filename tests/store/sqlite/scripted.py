"""Commands with a test's own effect on the connection, and direct calls of reads and changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from backup_sharing.rules.commands import Cause, Command
from backup_sharing.rules.outcome import Failed, Outcome, Succeeded
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Query
from backup_sharing.store.sqlite import changes
from backup_sharing.store.waiter import Waiters
from tests.store.commands import NOW, cause

T = TypeVar("T")

PATIENCE = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Scripted:
    """A command whose result is the return value of ``run``."""

    run: Callable[[sqlite3.Connection], object]
    cause: Cause


def scripted(  # noqa: ANN201 -- tests pass it as a command
    run: Callable[[sqlite3.Connection], object], commit_by: float | None = None, answer_by: float | None = None
):
    """Return a command that calls ``run`` with the connection."""
    return Scripted(run, replace(cause(), commit_by=commit_by, answer_by=answer_by))


def change(run: Callable[[sqlite3.Connection], object], commit_by: float | None = None) -> Change:
    """Return a change whose caller waits on the running loop."""
    return Change(Waiters(PATIENCE), scripted(run, commit_by))


def make_scripted(connection: sqlite3.Connection, commands: Sequence[Any], now: int) -> Sequence[Outcome]:
    """Replace `changes.make`; exceptions of scripted commands pass through."""
    outcomes: list[Outcome] = []
    for command in commands:
        if isinstance(command, Scripted):
            outcomes.append(Succeeded(command.run(connection)))  # type: ignore[arg-type]  # any type
        else:
            outcomes += changes.make(connection, [command], now)
    return outcomes


def make(connection: sqlite3.Connection, command: Command) -> object:
    """Make one change; return its answer, or raise its failure."""
    (outcome,) = changes.make(connection, [command], NOW)
    if isinstance(outcome, Failed):
        raise outcome.failure
    return outcome.answer


def ask(connection: sqlite3.Connection, query: Query[T]) -> T:
    """Return the answer to a query."""
    return query.answer(connection.execute(query.statement, {**query.parameters, "now": NOW}))
