"""SQL statements that read events in their order, for every engine; an `EventDialect` holds the few differences.

Every statement reads ranges of an index whose entries are in the order of positions, and stops after its page. So a
page costs the same in a long history as in a short one, as long as few events of the range fail the other filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from backup_sharing.store.interface import EventFilter
from backup_sharing.store.listing import Parameters
from backup_sharing.store.rows import EVENT_FIELDS

# ruff: noqa: S608 -- statements are put together from the constants of this program only

NEWEST: Final = 2**63 - 1
"""A position beyond all events."""


@dataclass(frozen=True, slots=True)
class EventDialect:
    """SQL fragments in which engines differ."""

    parameter: Callable[[str], str]
    """Returns the placeholder of a named parameter."""
    position: str
    """Column of the position."""
    not_by_index: str
    """Prefix that prevents a column from selecting the index; may be empty."""

    @property
    def columns(self) -> str:
        """Columns to select from ``sharing_events AS e``: the position, then `EVENT_FIELDS`."""
        return ", ".join((f"e.{self.position} AS position", *(f"e.{name}" for name in EVENT_FIELDS)))


_EQUAL: Final = ("backup_id", "sharing_id", "kind")
"""Filters that compare a column of the same name."""


def after_statement(dialect: EventDialect) -> str:
    """Return the statement for the first ``rows`` events beyond the position ``after``."""
    return _ordered(_range(dialect, (), descending=False), dialect, descending=False)


def list_statement(filter: EventFilter, dialect: EventDialect, *, descending: bool) -> str:
    """Return the statement for ``rows`` events beyond ``after``, less the first ``offset``; see `parameters_of`."""
    others = _conditions(filter, dialect)
    by_backup = filter.backup_id is not None or filter.sharing_id is not None
    sides = _sides(filter, dialect, dialect.not_by_index if by_backup else "")
    if by_backup and sides:
        # All events of a backup are one range.
        sides = [f"({' OR '.join(f'({side})' for side in sides)})"]
    # Each side is a range of its own index, and no event is on both: nobody shares a backup with its owner.
    ranges = [_range(dialect, (side, *others), descending=descending) for side in sides or ("TRUE",)]
    return _ordered(" UNION ALL ".join(ranges), dialect, descending=descending, offset=True)


def parameters_of(filter: EventFilter, rows: int, offset: int, after: int | None, *, descending: bool) -> Parameters:
    """Return the parameters of `list_statement`."""
    names = ("project_id", "backup_id", "sharing_id", "other_project_id", "kind", "since", "before")
    parameters: Parameters = {name: getattr(filter, name) for name in names if getattr(filter, name) is not None}
    begin = NEWEST if descending else 0
    return parameters | {"rows": rows, "offset": offset, "after": begin if after is None else after}


def _range(dialect: EventDialect, conditions: Sequence[str], *, descending: bool) -> str:
    beyond = f"e.{dialect.position} {'<' if descending else '>'} {dialect.parameter('after')}"
    return f"SELECT {dialect.columns} FROM sharing_events AS e WHERE {' AND '.join((*conditions, beyond))}"


def _ordered(ranges: str, dialect: EventDialect, *, descending: bool, offset: bool = False) -> str:
    direction = "DESC" if descending else "ASC"
    skipped = f" OFFSET {dialect.parameter('offset')}" if offset else ""
    return f"{ranges} ORDER BY position {direction} LIMIT {dialect.parameter('rows')}{skipped}"


def _sides(filter: EventFilter, dialect: EventDialect, prefix: str) -> list[str]:
    """Return the conditions of events that a project gave and received; nothing for all projects."""
    either = filter.project_id or filter.other_project_id
    if either is None:
        return []
    project = dialect.parameter("project_id" if filter.project_id else "other_project_id")
    sides = [f"{prefix}e.from_project_id = {project}", f"{prefix}e.to_project_id = {project}"]
    if filter.project_id and filter.other_project_id:
        # The project's own index selects the range, so that nobody reads the events of others.
        other = dialect.parameter("other_project_id")
        for number, column in enumerate(("to_project_id", "from_project_id")):
            sides[number] += f" AND {dialect.not_by_index}e.{column} = {other}"
    return sides


def _conditions(filter: EventFilter, dialect: EventDialect) -> list[str]:
    conditions = [f"e.{name} = {dialect.parameter(name)}" for name in _EQUAL if getattr(filter, name) is not None]
    if filter.sharing_id is not None:
        # No index has the sharing, but the index of its backup does.
        conditions.append(
            f"e.backup_id = (SELECT s.backup_id FROM sharings AS s WHERE s.id = {dialect.parameter('sharing_id')})"
        )
    if filter.since is not None:
        conditions.append(f"e.at >= {dialect.parameter('since')}")
    if filter.before is not None:
        conditions.append(f"e.at < {dialect.parameter('before')}")
    return conditions
