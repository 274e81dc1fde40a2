"""What each read asks. One statement each, so that it sees one state of the data.

Statements are put together from the fixed fragments here; every value is a parameter. Tables are
joined in the order written (CROSS JOIN), so that the index on a project's sharings gives the order.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from server.errors import BackupNotFound, SharingNotFound
from server.model import Backup, Page, SharingDetail
from server.store.interface import Position, SharingFilter, SharingOrder, SharingQuery, SortKey
from server.store.rows import BACKUP_COLUMNS, SHARING_COLUMNS, backup_of, detail_of

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_WITH_BACKUP: Final = "sharings AS s CROSS JOIN backups AS b ON b.id = s.backup_id"

_GET_SHARING: Final = f"""
    SELECT {SHARING_COLUMNS}, {BACKUP_COLUMNS} FROM {_WITH_BACKUP}
    WHERE s.id = :id AND s.deleted_at IS NULL AND :project_id IN (s.from_project_id, s.to_project_id)
"""

_OF_SHARING: Final = (
    ("backup_id", "s.backup_id = :backup_id"),
    ("from_project_id", "s.from_project_id = :from_project_id"),
    ("to_project_id", "s.to_project_id = :to_project_id"),
)
_OF_BACKUP: Final = (
    ("volume_id", "b.volume_id = :volume_id"),
    ("availability_zone", "b.availability_zone = :availability_zone"),
    ("status", "b.status = :status"),
    ("name", "instr(b.name_folded, :name) > 0"),
)

Parameters = dict[str, str | int | None]


def get_sharing(connection: sqlite3.Connection, project_id: str, sharing_id: str) -> SharingDetail:
    """Do what `Store.get_sharing` promises."""
    row = connection.execute(_GET_SHARING, {"id": sharing_id, "project_id": project_id}).fetchone()
    if row is None:
        raise SharingNotFound(sharing_id)
    return detail_of(row)


def list_sharings(connection: sqlite3.Connection, query: SharingQuery) -> Page[SharingDetail]:
    """Do what `Store.list_sharings` promises."""
    rows = connection.execute(*list_statement(query)).fetchall()
    items = [detail_of(row) for row in rows[: query.part.limit]]
    return Page(items, more=len(rows) > query.part.limit)


def count_sharings(connection: sqlite3.Connection, filter: SharingFilter) -> int:
    """Do what `Store.count_sharings` promises."""
    (count,) = connection.execute(*count_statement(filter)).fetchone()
    return int(count)


def get_backup(connection: sqlite3.Connection, backup_id: str) -> Backup:
    """Do what `Store.get_backup` promises."""
    row = connection.execute(f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = ?", (backup_id,)).fetchone()
    if row is None:
        raise BackupNotFound(backup_id)
    return backup_of(row)


def list_backups(
    connection: sqlite3.Connection, project_id: str | None, limit: int, after_id: str | None
) -> Page[Backup]:
    """Do what `Store.list_backups` promises."""
    conditions = ["TRUE"]
    if project_id is not None:
        conditions.append("b.project_id = :project_id")
    if after_id is not None:
        conditions.append("b.id > :after_id")
    statement = f"""
        SELECT {BACKUP_COLUMNS} FROM backups AS b
        WHERE {" AND ".join(conditions)} ORDER BY b.id LIMIT :rows
    """
    parameters = {"project_id": project_id, "after_id": after_id, "rows": limit + 1}
    rows = connection.execute(statement, parameters).fetchall()
    return Page([backup_of(row) for row in rows[:limit]], more=len(rows) > limit)


def list_statement(query: SharingQuery) -> tuple[str, Parameters]:
    """Answer the statement of a list and its parameters: one row more than asked for tells whether more remain."""
    conditions = _conditions(query.filter)
    parameters = _parameters(query.filter)
    after = query.part.after
    if after is not None:
        conditions.append(_behind(query.order, after))
        parameters |= {"after_value": after.value, "after_id": after.id}
    parameters |= {"rows": query.part.limit + 1, "offset": 0 if after is not None else query.part.offset}
    statement = f"""
        SELECT {SHARING_COLUMNS}, {BACKUP_COLUMNS} FROM {_WITH_BACKUP}
        WHERE {" AND ".join(conditions)} ORDER BY {_order(query.order)} LIMIT :rows OFFSET :offset
    """
    return statement, parameters


def count_statement(filter: SharingFilter) -> tuple[str, Parameters]:
    """Answer the statement that counts, and its parameters. An active sharing always has its backup."""
    by_backup = any(getattr(filter, name) is not None for name, _ in _OF_BACKUP)
    tables = _WITH_BACKUP if by_backup else "sharings AS s"
    return f"SELECT count(*) FROM {tables} WHERE {' AND '.join(_conditions(filter))}", _parameters(filter)


def _conditions(filter: SharingFilter) -> list[str]:
    whose = "s.to_project_id = :project_id" if filter.received else "s.from_project_id = :project_id"
    wanted = [sql for name, sql in (*_OF_SHARING, *_OF_BACKUP) if getattr(filter, name) is not None]
    if filter.backup_id is not None:
        # The plus sign keeps these from choosing the index: a project may have far more sharings than a backup.
        whose = f"+{whose}"
        wanted = [f"+{sql}" if sql.startswith("s.from_project_id") else sql for sql in wanted]
    return ["s.deleted_at IS NULL", whose, *wanted]


def _parameters(filter: SharingFilter) -> Parameters:
    parameters: Parameters = {name: getattr(filter, name) for name, _ in (*_OF_SHARING, *_OF_BACKUP)}
    parameters["project_id"] = filter.project_id
    if filter.name is not None:
        parameters["name"] = filter.name.casefold()
    return parameters


def _sort_column(key: SortKey) -> tuple[str, bool]:
    """The column of a sort key, and whether it may be null."""
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


def _order(order: SharingOrder) -> str:
    column, nullable = _sort_column(order.key)
    direction = "DESC" if order.descending else "ASC"
    by_value = f"{column} {direction}, s.id {direction}" if order.key is not SortKey.ID else f"s.id {direction}"
    # Only where there can be nulls: with this term no index serves the order.
    return f"({column} IS NULL), {by_value}" if nullable else by_value


def _behind(order: SharingOrder, after: Position) -> str:
    """The condition that holds for exactly the rows behind a position."""
    column, nullable = _sort_column(order.key)
    beyond = "<" if order.descending else ">"
    if order.key is SortKey.ID:
        return f"s.id {beyond} :after_id"
    if after.value is None:
        return f"{column} IS NULL AND s.id {beyond} :after_id"
    behind = f"({column}, s.id) {beyond} (:after_value, :after_id)"
    return f"({column} IS NULL OR {behind})" if nullable else behind
