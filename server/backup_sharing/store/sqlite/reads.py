"""What each read asks of SQLite. One statement each, so that it sees one state of the data.

Tables are joined in the order written (CROSS JOIN), so that the index on a project's sharings gives the order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from operator import itemgetter
from typing import Final

from backup_sharing.errors import BackupNotFound, SharingNotFound
from backup_sharing.model import Backup, Page, SharingDetail
from backup_sharing.store import listing
from backup_sharing.store.interface import SharingFilter, SharingQuery, SortKey
from backup_sharing.store.rows import (
    BACKUP_COLUMNS,
    BACKUP_FIELDS,
    SHARING_COLUMNS,
    SHARING_FIELDS,
    Row,
    backup_of,
    detail_of,
    details_of,
)

SQLITE: Final = listing.Dialect(
    parameter=lambda name: f":{name}",
    with_backup="sharings AS s CROSS JOIN backups AS b ON b.id = s.backup_id",
    name_contains=lambda name: f"instr(b.name_folded, :{name}) > 0",
    not_by_index="+",
)
"""How SQLite says it."""

_GET_SHARING: Final = listing.get_statement(SQLITE)
_GET_BACKUP: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = ?"  # noqa: S608 -- constants


def get_sharing(connection: sqlite3.Connection, project_id: str, sharing_id: str) -> SharingDetail:
    """Do what `Store.get_sharing` promises."""
    row = connection.execute(_GET_SHARING, {"id": sharing_id, "project_id": project_id}).fetchone()
    if row is None:
        raise SharingNotFound(sharing_id)
    return detail_of(row)


def list_sharings(connection: sqlite3.Connection, query: SharingQuery) -> Page[SharingDetail]:
    """Do what `Store.list_sharings` promises."""
    with closing(connection.execute(*list_statement(query))) as rows:
        page, more = listing.cut(rows, query.part.limit, _SIZE_OF_DETAIL)
    return Page(details_of(page), more)


def list_statement(query: SharingQuery) -> tuple[str, listing.Parameters]:
    """Answer the statement of a list, whose rows are read one by one, and its parameters."""
    if query.order.key is SortKey.CREATED_AT and query.filter.backup_id is None:
        return listing.list_statement(query, SQLITE, f"{SHARING_COLUMNS}, {BACKUP_COLUMNS}")
    # Sorted: by no more than it takes, as a backup may be large.
    ids, parameters = listing.list_statement(query, SQLITE, "s.id AS sharing_id")
    statement = f"""
        SELECT {SHARING_COLUMNS}, {BACKUP_COLUMNS} FROM ({ids}) AS page
        CROSS JOIN sharings AS s ON s.id = page.sharing_id CROSS JOIN backups AS b ON b.id = s.backup_id
    """  # noqa: S608 -- constants
    return statement, parameters


def count_sharings(connection: sqlite3.Connection, filter: SharingFilter) -> int:
    """Do what `Store.count_sharings` promises."""
    (count,) = connection.execute(*listing.count_statement(filter, SQLITE)).fetchone()
    return int(count)


def get_backup(connection: sqlite3.Connection, backup_id: str) -> Backup:
    """Do what `Store.get_backup` promises."""
    row = connection.execute(_GET_BACKUP, (backup_id,)).fetchone()
    if row is None:
        raise BackupNotFound(backup_id)
    return backup_of(row)


def list_backups(
    connection: sqlite3.Connection, project_id: str | None, limit: int, after_id: str | None
) -> Page[Backup]:
    """Do what `Store.list_backups` promises."""
    parameters = {"project_id": project_id, "after_id": after_id, "rows": limit + 1}
    statement = listing.backups_statement(project_id, after_id, SQLITE, BACKUP_COLUMNS)
    with closing(connection.execute(statement, parameters)) as rows:
        page, more = listing.cut(rows, limit, _SIZE_OF_BACKUP)
    return Page([backup_of(row) for row in page], more)


def _size_from(start: int) -> Callable[[Row], int]:
    """Answer what tells the size of a row in which a backup begins at ``start``."""
    texts = itemgetter(*(start + BACKUP_FIELDS.index(name) for name in listing.TEXTS))
    return lambda row: listing.ROW_BYTES + len("".join(filter(None, texts(row))).encode())


_SIZE_OF_BACKUP: Final = _size_from(0)
_SIZE_OF_DETAIL: Final = _size_from(len(SHARING_FIELDS))
