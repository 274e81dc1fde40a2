"""Changes of which a test says itself what they do to the connection, and reads and changes made by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from backup_sharing.rules.commands import Cause, Command
from backup_sharing.rules.outcome import Made, NotMade, Outcome
from backup_sharing.store.change import Change
from backup_sharing.store.engine import Query
from backup_sharing.store.sqlite import changes
from backup_sharing.store.waiter import Waiters
from tests.store.commands import cause

T = TypeVar("T")

PATIENCE = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Scripted:
    """Stands for a command; its answer is what it returns."""

    run: Callable[[sqlite3.Connection], object]
    cause: Cause


def scripted(  # noqa: ANN201 -- given where a command is expected
    run: Callable[[sqlite3.Connection], object], commit_by: float | None = None, answer_by: float | None = None
):
    """A command that does this to the connection."""
    return Scripted(run, replace(cause(), commit_by=commit_by, answer_by=answer_by))


def change(run: Callable[[sqlite3.Connection], object], commit_by: float | None = None) -> Change:
    """A change with a caller on the loop that runs."""
    return Change(Waiters(PATIENCE), scripted(run, commit_by))


def make_scripted(connection: sqlite3.Connection, commands: Sequence[Any]) -> Sequence[Outcome]:
    """In place of `changes.make`: raises what any of the scripted ones raises."""
    outcomes: list[Outcome] = []
    for command in commands:
        if isinstance(command, Scripted):
            outcomes.append(Made(command.run(connection)))  # type: ignore[arg-type]  # whatever it is
        else:
            outcomes += changes.make(connection, [command])
    return outcomes


def make(connection: sqlite3.Connection, command: Command) -> object:
    """Make one change; answers what its caller gets, or raises its failure."""
    (outcome,) = changes.make(connection, [command])
    if isinstance(outcome, NotMade):
        raise outcome.failure
    return outcome.answer


def ask(connection: sqlite3.Connection, query: Query[T]) -> T:
    """The answer to a query."""
    return query.answer(connection.execute(query.statement, query.parameters))
