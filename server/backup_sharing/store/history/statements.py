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
    is_selected_by_rows: bool
    """Whether a range of an index must be selected by comparing rows: see `_range_of`."""

    @property
    def columns(self) -> str:
        """Columns to select from ``sharing_events AS e``: the position, then `EVENT_FIELDS`."""
        return ", ".join((f"e.{self.position} AS position", *(f"e.{name}" for name in EVENT_FIELDS)))


def after_statement(dialect: EventDialect) -> str:
    """Return the statement for the first ``rows`` events beyond the position ``after``."""
    return f"{_all(dialect, (), descending=False)} LIMIT {dialect.parameter('rows')}"


def old_statement(dialect: EventDialect) -> str:
    """Return the statement for position and time of the first ``rows`` events beyond the position ``after``."""
    position, after, rows = f"e.{dialect.position}", dialect.parameter("after"), dialect.parameter("rows")
    return (
        f"SELECT {position}, e.at FROM sharing_events AS e WHERE {position} > {after} ORDER BY {position} LIMIT {rows}"
    )


def list_statement(filter: EventFilter, dialect: EventDialect, *, descending: bool) -> str:
    """Return the statement for ``rows`` events beyond ``after``, less the first ``offset``; see `parameters_of`."""
    rows, offset, reach = (dialect.parameter(name) for name in ("rows", "offset", "reach"))
    conditions, sides = _conditions(filter, dialect), _sides(filter, dialect)
    about = next((column for column in ("sharing_id", "backup_id") if getattr(filter, column) is not None), None)
    if about is not None:
        # All events of a sharing are one range, and so are all events of a backup.
        if sides:
            is_on = (f"{dialect.not_by_index}e.{column} = {project}{more}" for column, project, more in sides)
            conditions.append(f"({' OR '.join(is_on)})")
        page = _range_of(about, dialect.parameter(about), dialect, conditions, descending=descending)
    elif sides:
        # Each side is a range of its own index, and no event is on both: nobody shares a backup with its owner.
        ranges = (
            _range_of(column, project, dialect, [*conditions, f"TRUE{more}"], descending=descending)
            for column, project, more in sides
        )
        both = " UNION ALL ".join(f"SELECT * FROM ({each} LIMIT {reach}) AS side" for each in ranges)
        page = f"SELECT * FROM ({both}) AS sides ORDER BY position {_direction(descending=descending)}"
    else:
        page = _all(dialect, conditions, descending=descending)
    return f"{page} LIMIT {rows} OFFSET {offset}"


def parameters_of(filter: EventFilter, rows: int, offset: int, after: int | None, *, descending: bool) -> Parameters:
    """Return the parameters of `list_statement`."""
    names = ("project_id", "backup_id", "sharing_id", "other_project_id", "kind", "since", "before")
    parameters: Parameters = {name: getattr(filter, name) for name in names if getattr(filter, name) is not None}
    begin = NEWEST if descending else 0
    page: Parameters = {"rows": rows, "offset": offset, "reach": rows + offset}
    return parameters | page | {"after": begin if after is None else after}


def _all(dialect: EventDialect, conditions: Sequence[str], *, descending: bool) -> str:
    beyond = f"e.{dialect.position} {'<' if descending else '>'} {dialect.parameter('after')}"
    order = f"ORDER BY e.{dialect.position} {_direction(descending=descending)}"
    return f"{_select(dialect, (*conditions, beyond))} {order}"


def _range_of(column: str, value: str, dialect: EventDialect, conditions: Sequence[str], *, descending: bool) -> str:
    """Return the statement for the events with a value, beyond ``after`` in order."""
    if not dialect.is_selected_by_rows:
        return _all(dialect, (f"e.{column} = {value}", *conditions), descending=descending)
    # PostgreSQL may expect to find the rows of a value soon by reading the whole history in its order. Only the index
    # of the column has the order of both columns, and PostgreSQL does not notice that the first one is constant.
    row, direction = f"(e.{column}, e.{dialect.position})", _direction(descending=descending)
    beyond, within, end = ("<", ">", "0") if descending else (">", "<", str(NEWEST))
    bounds = f"{row} {beyond} ({value}, {dialect.parameter('after')})", f"{row} {within} ({value}, {end})"
    order = f"ORDER BY e.{column} {direction}, e.{dialect.position} {direction}"
    return f"{_select(dialect, (*bounds, *conditions))} {order}"


def _select(dialect: EventDialect, conditions: Sequence[str]) -> str:
    return f"SELECT {dialect.columns} FROM sharing_events AS e WHERE {' AND '.join(conditions)}"


def _direction(*, descending: bool) -> str:
    return "DESC" if descending else "ASC"


def _sides(filter: EventFilter, dialect: EventDialect) -> Sequence[tuple[str, str, str]]:
    """Return what selects the events that a project gave, and received; nothing for all projects.

    Each has a column, the project in it, and a further condition.
    """
    either = filter.project_id or filter.other_project_id
    if either is None:
        return ()
    project, more = dialect.parameter("project_id" if filter.project_id else "other_project_id"), ("", "")
    if filter.project_id and filter.other_project_id:
        # The project's own index selects the range, so that nobody reads the events of others.
        other = dialect.parameter("other_project_id")
        also = f" AND {dialect.not_by_index}e."
        more = f"{also}to_project_id = {other}", f"{also}from_project_id = {other}"
    # PostgreSQL takes the partial index of recipients only with its condition.
    return ("from_project_id", project, more[0]), (
        "to_project_id",
        project,
        f" AND e.to_project_id IS NOT NULL{more[1]}",
    )


def _conditions(filter: EventFilter, dialect: EventDialect) -> list[str]:
    conditions = []
    if filter.sharing_id is not None:
        # PostgreSQL takes the partial index of sharings only with its condition.
        conditions.append("e.sharing_id IS NOT NULL")
        if filter.backup_id is not None:
            conditions.append(f"{dialect.not_by_index}e.backup_id = {dialect.parameter('backup_id')}")
    if filter.kind is not None:
        conditions.append(f"e.kind = {dialect.parameter('kind')}")
    if filter.since is not None:
        conditions.append(f"e.at >= {dialect.parameter('since')}")
    if filter.before is not None:
        conditions.append(f"e.at < {dialect.parameter('before')}")
    return conditions
