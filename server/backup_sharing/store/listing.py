"""SQL statements of lists and counts for every engine; a `Dialect` holds the few differences.

Statements are composed of the fixed fragments here; every value is a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from backup_sharing.model import Micros
from backup_sharing.store.interface import (
    PAGE_BYTES,
    OldSharing,
    Position,
    SharingFilter,
    SharingOrder,
    SharingQuery,
    SortKey,
)
from backup_sharing.store.rows import BACKUP_COLUMNS, SHARING_COLUMNS, Row

# ruff: noqa: S608 -- statements are put together from the constants of this program only

Parameters = dict[str, str | int | bytes | Sequence[str] | None]


class Counted(Enum):
    """Rows that are counted part by part, each in the order of a unique index. A key of the index is a text."""

    BACKUPS = "backups"
    """All backups, by id."""
    SHARINGS = "sharings"
    """Sharings whose end is not recorded, by giver, creation and id; this includes those that are due."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a count."""

    rows: int
    last: str
    """Key of the last row of the part; empty: there is none."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """SQL fragments in which engines differ."""

    parameter: Callable[[str], str]
    """Returns the placeholder of a named parameter."""
    with_backup: str
    """Join of ``sharings AS s`` and ``backups AS b``."""
    name_contains: Callable[[str], str]
    """Returns the condition that ``b.name_folded`` contains a named parameter."""
    not_by_index: str
    """Prefix that prevents a column from selecting the index; may be empty."""
    now: str
    """Expression for the store's time in microseconds; it may use the parameter ``now``, which the engine sets."""


EARLIEST: Final = -(2**63)
"""A time before all others."""

ROW_BYTES: Final = 512
"""Bytes of an item besides its texts, counted for `PAGE_BYTES`: ids, times and numbers."""

_TIMES_FROM: Final = 10**18
"""Added to a time in a key of `Counted.SHARINGS`, so that all times have 19 digits."""

TEXTS: Final = (
    *("status", "name", "volume_id", "availability_zone", "container", "description", "fail_reason", "snapshot_id"),
    "service_metadata",
)
"""Columns of ``backups`` with variable length."""

_OF_SHARING: Final = (
    ("backup_id", "s.backup_id"),
    ("from_project_id", "s.from_project_id"),
    ("to_project_id", "s.to_project_id"),
)
_OF_BACKUP: Final = (
    ("volume_id", "b.volume_id"),
    ("availability_zone", "b.availability_zone"),
    ("status", "b.status"),
)


def get_statement(dialect: Dialect) -> str:
    """Return the statement for the sharing ``id``, given or received by ``project_id``."""
    sharing_id, project_id = dialect.parameter("id"), dialect.parameter("project_id")
    return f"""
        SELECT {SHARING_COLUMNS}, {BACKUP_COLUMNS} FROM {dialect.with_backup}
        WHERE s.id = {sharing_id} AND {project_id} IN (s.from_project_id, s.to_project_id) AND {is_active(dialect)}
    """


def is_active(dialect: Dialect) -> str:
    """Return the condition that a sharing ``s`` is active: neither cancelled nor due."""
    return f"s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > {dialect.now})"


def ending_statement(dialect: Dialect) -> str:
    """Return the statement for the ``rows`` sharings that end first: backup, id, and microseconds until the end."""
    return f"""
        SELECT s.backup_id, s.id, s.expires_at - {dialect.now} FROM sharings AS s
        WHERE s.deleted_at IS NULL AND s.expires_at IS NOT NULL
        ORDER BY s.expires_at, s.id LIMIT {dialect.parameter("rows")}
    """


def time_statement(dialect: Dialect) -> str:
    """Return the statement for the store's time."""
    return f"SELECT {dialect.now}"


def old_statement(dialect: Dialect, limit: int) -> str:
    """Return the statement for the first ``limit`` sharings that ended before a time: their end and id.

    It reads beyond ``after_at`` and ``after_id``. The limit is a constant, so that every engine reads by the index.
    """
    before, after_at, after_id = (dialect.parameter(name) for name in ("before", "after_at", "after_id"))
    return f"""
        SELECT s.deleted_at, s.id FROM sharings AS s
        WHERE s.deleted_at < {before} AND (s.deleted_at, s.id) > ({after_at}, {after_id})
        ORDER BY s.deleted_at, s.id LIMIT {limit}
    """


def old_parameters(before: Micros, after: OldSharing | None) -> Parameters:
    """Return the parameters of `old_statement`."""
    ended_at, sharing_id = after or (EARLIEST, "")
    return {"before": before, "after_at": ended_at, "after_id": sharing_id}


def list_statement(query: SharingQuery, dialect: Dialect, columns: str) -> tuple[str, Parameters]:
    """Return the statement of a list and its parameters; one extra row shows whether more rows remain."""
    conditions = [is_active(dialect), *_conditions(query.filter, dialect)]
    parameters = _parameters(query.filter)
    after = query.part.after
    if after is not None:
        conditions.append(_behind(query.order, after, dialect))
        parameters |= {"after_id": after.id}
        if after.value is not None:
            parameters |= {"after_value": after.value}
    parameters |= {"rows": query.part.limit + 1, "offset": 0 if after is not None else query.part.offset}
    rows, offset = dialect.parameter("rows"), dialect.parameter("offset")
    order = ", ".join(f"{term} {direction}" for term, direction in order_of(query.order))
    statement = f"""
        SELECT {columns} FROM {dialect.with_backup}
        WHERE {" AND ".join(conditions)} ORDER BY {order} LIMIT {rows} OFFSET {offset}
    """
    return statement, parameters


def order_of(order: SharingOrder) -> Sequence[tuple[str, str]]:
    """Return the terms that order the rows, each with its direction."""
    column, nullable = _sort_column(order.key)
    direction = "DESC" if order.descending else "ASC"
    terms = [(column, direction)] if order.key is SortKey.ID else [(column, direction), ("s.id", direction)]
    # Only for nullable columns: with this term, no index provides the order.
    return [(f"({column} IS NULL)", "ASC"), *terms] if nullable else terms


def cut(rows: Iterable[Row], limit: int, size_of: Callable[[Row], int]) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page, and whether more remain; read no more rows than necessary."""
    page: list[Row] = []
    size = 0
    for row in rows:
        size += size_of(row)
        if len(page) == limit or (page and size > PAGE_BYTES):
            return page, True
        page.append(row)
    return page, False


def count_statement(filter: SharingFilter, dialect: Dialect) -> tuple[str, Parameters]:
    """Return the counting statement and its parameters. An active sharing always has its backup.

    The indexes of a project do not have the end of a sharing, so the due sharings are counted by another index, and
    subtracted: they are few, as their end is soon recorded.
    """
    by_backup = any(getattr(filter, name) is not None for name in ("name", *(name for name, _ in _OF_BACKUP)))
    tables = dialect.with_backup if by_backup else "sharings AS s"
    not_ended = ["s.deleted_at IS NULL", *_conditions(filter, dialect)]
    of_project = dialect.not_by_index if filter.backup_id is None else ""
    due = ["s.deleted_at IS NULL", f"s.expires_at <= {dialect.now}", *_conditions(filter, dialect, of_project)]
    statement = f"""
        SELECT (SELECT count(*) FROM {tables} WHERE {" AND ".join(not_ended)})
            - (SELECT count(*) FROM {tables} WHERE {" AND ".join(due)})
    """
    return statement, _parameters(filter)


def only_number(rows: Iterable[Row]) -> int:
    """Return the only value of the only row."""
    ((number,),) = rows
    return int(number)


def backups_statement(project_id: str | None, after_id: str | None, dialect: Dialect, columns: str) -> str:
    """Return the statement for ``rows`` backups, ordered by id."""
    conditions = ["TRUE"]
    if project_id is not None:
        conditions.append(f"b.project_id = {dialect.parameter('project_id')}")
    if after_id is not None:
        conditions.append(f"b.id > {dialect.parameter('after_id')}")
    return f"""
        SELECT {columns} FROM backups AS b
        WHERE {" AND ".join(conditions)} ORDER BY b.id LIMIT {dialect.parameter("rows")}
    """


def _conditions(filter: SharingFilter, dialect: Dialect, of_project: str = "") -> list[str]:
    """Return the conditions of a filter; the prefix ``of_project`` is for conditions on a project."""
    # A project may have far more sharings than a backup, so a filter on the backup must select the index.
    either = dialect.not_by_index if filter.backup_id is not None else of_project
    whose = "s.to_project_id" if filter.received else "s.from_project_id"
    conditions = [f"{either}{whose} = {dialect.parameter('project_id')}"]
    for name, column in (*_OF_SHARING, *_OF_BACKUP):
        if getattr(filter, name) is not None:
            kept = of_project or (either if name == "from_project_id" else "")
            kept = kept if name in ("from_project_id", "to_project_id") else ""
            conditions.append(f"{kept}{column} = {dialect.parameter(name)}")
    if filter.name is not None:
        conditions.append(dialect.name_contains("name"))
    return conditions


def _parameters(filter: SharingFilter) -> Parameters:
    names = ("project_id", "name", *(name for name, _ in (*_OF_SHARING, *_OF_BACKUP)))
    parameters: Parameters = {name: getattr(filter, name) for name in names if getattr(filter, name) is not None}
    if filter.name is not None:
        parameters["name"] = filter.name.casefold()
    return parameters


def _sort_column(key: SortKey) -> tuple[str, bool]:
    """Return the column of a sort key, and whether the column is nullable."""
    match key:
        case SortKey.CREATED_AT:
            return "s.created_at", False
        case SortKey.UPDATED_AT:
            return "s.updated_at", True
        case SortKey.ID:
            return "s.id", False
        case SortKey.NAME:
            return "b.name", True
        case SortKey.STATUS:
            return "b.status", False
        case SortKey.SIZE:
            return "b.size", True


def _behind(order: SharingOrder, after: Position, dialect: Dialect) -> str:
    """Return the condition that is true for exactly the rows after a position."""
    column, nullable = _sort_column(order.key)
    beyond = "<" if order.descending else ">"
    after_id, after_value = dialect.parameter("after_id"), dialect.parameter("after_value")
    if order.key is SortKey.ID:
        return f"s.id {beyond} {after_id}"
    if after.value is None:
        return f"{column} IS NULL AND s.id {beyond} {after_id}"
    behind = f"({column}, s.id) {beyond} ({after_value}, {after_id})"
    return f"({column} IS NULL OR {behind})" if nullable else behind


def part_statement(counted: Counted, dialect: Dialect) -> str:
    """Return the statement that counts the ``rows`` rows after a key: their number, and the key of the last of them."""
    rows = dialect.parameter("rows")
    if counted is Counted.BACKUPS:
        keys = f"SELECT id AS key FROM backups WHERE id > {dialect.parameter('after')} ORDER BY id LIMIT {rows}"
    else:
        after = ", ".join(map(dialect.parameter, ("after_project", "after_time", "after_id")))
        # The keys have the order of the index: a space precedes every character of an id, and all times have the same
        # number of digits.
        keys = f"""
            SELECT from_project_id || ' ' || CAST(created_at + {_TIMES_FROM} AS TEXT) || ' ' || id AS key FROM sharings
            WHERE deleted_at IS NULL AND (from_project_id, created_at, id) > ({after})
            ORDER BY from_project_id, created_at, id LIMIT {rows}
        """
    return f"SELECT count(*), coalesce(max(key), '') FROM ({keys}) AS part"


def part_parameters(counted: Counted, after: str, limit: int) -> Parameters:
    """Return the parameters of `part_statement`."""
    if counted is Counted.BACKUPS:
        return {"after": after, "rows": limit}
    project_id, time, sharing_id = after.split(" ", 2) if after else ("", str(_TIMES_FROM), "")
    return {"after_project": project_id, "after_time": int(time) - _TIMES_FROM, "after_id": sharing_id, "rows": limit}


def only_part(rows: Iterable[Row]) -> Part:
    """Return the result of `part_statement`."""
    ((number, last),) = rows
    return Part(number, last)
