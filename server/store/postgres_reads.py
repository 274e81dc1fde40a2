"""What each read asks of PostgreSQL. One statement each, so that it sees one state of the data."""

from __future__ import annotations

from typing import Any, Final

from server.errors import BackupNotFound, SharingNotFound
from server.model import Backup, Page, SharingDetail
from server.store import listing
from server.store.interface import SharingFilter, SharingQuery
from server.store.postgres_connection import Connection
from server.store.postgres_rows import stored_backup, stored_detail, text_in
from server.store.rows import BACKUP_COLUMNS

POSTGRES: Final = listing.Dialect(
    parameter=lambda name: f"%({name})s",
    with_backup="sharings AS s JOIN backups AS b ON b.id = s.backup_id",
    # On UTF-8, in which a text is part of another exactly where its bytes are: what cannot stand in a text can so be
    # looked for.
    name_contains=lambda name: f"position(%({name})s::bytea IN b.name_folded) > 0",
    not_by_index="",
)
"""How PostgreSQL says it."""

_GET_SHARING: Final = listing.get_statement(POSTGRES)
_GET_BACKUP: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = %(id)s"  # noqa: S608 -- constants


async def get_sharing(connection: Connection, project_id: str, sharing_id: str) -> SharingDetail:
    """Do what `Store.get_sharing` promises."""
    rows = await _rows(connection, _GET_SHARING, {"id": sharing_id, "project_id": project_id})
    if not rows:
        raise SharingNotFound(sharing_id)
    return stored_detail(rows[0])


async def list_sharings(connection: Connection, query: SharingQuery) -> Page[SharingDetail]:
    """Do what `Store.list_sharings` promises."""
    rows = await _rows(connection, *listing.list_statement(query, POSTGRES))
    items = [stored_detail(row) for row in rows[: query.part.limit]]
    return Page(items, more=len(rows) > query.part.limit)


async def count_sharings(connection: Connection, filter: SharingFilter) -> int:
    """Do what `Store.count_sharings` promises."""
    ((count,),) = await _rows(connection, *listing.count_statement(filter, POSTGRES))
    return int(count)


async def get_backup(connection: Connection, backup_id: str) -> Backup:
    """Do what `Store.get_backup` promises."""
    rows = await _rows(connection, _GET_BACKUP, {"id": backup_id})
    if not rows:
        raise BackupNotFound(backup_id)
    return stored_backup(rows[0])


async def list_backups(
    connection: Connection, project_id: str | None, limit: int, after_id: str | None
) -> Page[Backup]:
    """Do what `Store.list_backups` promises."""
    statement = listing.backups_statement(project_id, after_id, POSTGRES)
    parameters: listing.Parameters = {"project_id": project_id, "after_id": after_id, "rows": limit + 1}
    rows = await _rows(connection, statement, parameters)
    return Page([stored_backup(row) for row in rows[:limit]], more=len(rows) > limit)


async def _rows(connection: Connection, statement: str, parameters: listing.Parameters) -> list[tuple[Any, ...]]:
    values = {name: text_in(value) for name, value in parameters.items()}
    if isinstance(name := parameters.get("name"), str):
        values["name"] = name.encode()
    cursor = await connection.execute(statement, values)
    return await cursor.fetchall()
