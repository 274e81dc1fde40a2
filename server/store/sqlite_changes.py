"""What each change does inside its transaction.

Every function runs in a transaction that its caller began with the write lock, commits after it
returns and rolls back when it raises. The rules are those of `server.store.interface.Store`.

Lists of rows travel as one JSON parameter: a statement per row would give up and regain the
interpreter's lock for each of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from server.errors import (
    BackupNotFound,
    BackupOwnerFixed,
    NotTheGiver,
    SharingNotFound,
)
from server.model import Backup, Sharing
from server.store.interface import Cancel, CancelAll, Cause
from server.store.sqlite_idempotency import earlier_call, remember
from server.store.sqlite_rows import (
    BACKUP_COLUMNS,
    BACKUP_FIELDS,
    SHARING_COLUMNS,
    backup_of,
    backup_values,
    sharing_of,
)

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_ACTIVE: Final = f"SELECT {SHARING_COLUMNS} FROM sharings AS s WHERE backup_id = ? AND deleted_at IS NULL ORDER BY id"
_ACTIVE_BY_ID: Final = f"SELECT {SHARING_COLUMNS} FROM sharings AS s WHERE id = ? AND deleted_at IS NULL"
_END_SHARINGS: Final = """
    UPDATE sharings SET deleted_at = ?1, updated_at = ?1 WHERE id IN (SELECT value FROM json_each(?2))
"""
_EVENT_COLUMNS: Final = (
    "kind, at, by_project_id, by_user_id, request_id, backup_id, from_project_id, sharing_id, to_project_id"
)
_INSERT_SHARING_EVENTS: Final = f"""
    INSERT INTO sharing_events ({_EVENT_COLUMNS})
    SELECT ?, ?, ?, ?, ?, ?, ?, of.value ->> 0, of.value ->> 1 FROM json_each(?) AS of
"""
_INSERT_BACKUP_EVENT: Final = f"INSERT INTO sharing_events ({_EVENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)"
_SELECT_BACKUP: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE id = ?"
_SELECT_OWNER: Final = "SELECT project_id, status FROM backups WHERE id = ?"
_PUT_BACKUP: Final = f"""
    INSERT INTO backups ({", ".join(BACKUP_FIELDS)}, name_folded)
    VALUES ({", ".join(f":{name}" for name in BACKUP_FIELDS)}, :name_folded)
    ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in BACKUP_FIELDS)}, name_folded = excluded.name_folded
"""


def cancel(connection: sqlite3.Connection, command: Cancel) -> list[Sharing]:
    """Do what `Store.cancel` promises."""
    earlier = earlier_call(connection, command.cause, command.idempotency)
    if earlier is not None and earlier.same:
        return earlier.answer()
    row = connection.execute(_ACTIVE_BY_ID, (command.sharing_id,)).fetchone()
    if row is None:
        raise SharingNotFound(command.sharing_id)
    sharing = sharing_of(row)
    if command.project_id == sharing.to_project_id:
        raise NotTheGiver(command.sharing_id)
    if command.project_id != sharing.from_project_id:
        raise SharingNotFound(command.sharing_id)
    if earlier is not None:
        return earlier.answer()
    ended = _end_sharings(connection, [sharing], command.cause)
    remember(connection, command.cause, command.idempotency, ended)
    return ended


def cancel_all(connection: sqlite3.Connection, command: CancelAll) -> list[Sharing]:
    """Do what `Store.cancel_all` promises."""
    _status_for_owner(connection, command.backup_id, command.project_id)
    if (earlier := earlier_call(connection, command.cause, command.idempotency)) is not None:
        return earlier.answer()
    ended = _end_sharings(connection, _active(connection, command.backup_id), command.cause)
    remember(connection, command.cause, command.idempotency, ended)
    return ended


def put_backup(connection: sqlite3.Connection, backup: Backup, cause: Cause) -> Backup:
    """Do what `Store.put_backup` promises."""
    row = connection.execute(_SELECT_BACKUP, (backup.id,)).fetchone()
    if row is not None:
        stored = backup_of(row)
        if stored.project_id != backup.project_id:
            raise BackupOwnerFixed(backup.id)
        if stored == backup:
            return stored
    connection.execute(_PUT_BACKUP, backup_values(backup))
    _insert_backup_event(connection, "backup_put", backup.id, backup.project_id, cause)
    return backup


def remove_backup(connection: sqlite3.Connection, backup_id: str, cause: Cause) -> list[Sharing]:
    """Do what `Store.remove_backup` promises."""
    row = connection.execute(_SELECT_OWNER, (backup_id,)).fetchone()
    if row is None:
        raise BackupNotFound(backup_id)
    ended = _end_sharings(connection, _active(connection, backup_id), cause)
    connection.execute("DELETE FROM backups WHERE id = ?", (backup_id,))
    _insert_backup_event(connection, "backup_removed", backup_id, row[0], cause)
    return ended


def _status_for_owner(connection: sqlite3.Connection, backup_id: str, project_id: str) -> str:
    row = connection.execute(_SELECT_OWNER, (backup_id,)).fetchone()
    if row is None or row[0] != project_id:
        raise BackupNotFound(backup_id)
    status: str = row[1]
    return status


def _active(connection: sqlite3.Connection, backup_id: str) -> list[Sharing]:
    return [sharing_of(row) for row in connection.execute(_ACTIVE, (backup_id,)).fetchall()]


def _end_sharings(connection: sqlite3.Connection, sharings: Sequence[Sharing], cause: Cause) -> list[Sharing]:
    """Cancel active sharings that are all of one backup; answers them as they are afterwards."""
    if sharings:
        connection.execute(_END_SHARINGS, (cause.at, json.dumps([sharing.id for sharing in sharings])))
        _insert_sharing_events(connection, "cancelled", sharings, cause)
    return [replace(sharing, updated_at=cause.at, deleted_at=cause.at) for sharing in sharings]


def _insert_sharing_events(
    connection: sqlite3.Connection, kind: str, sharings: Sequence[Sharing], cause: Cause
) -> None:
    by = (cause.project_id, cause.user_id, cause.request_id)
    of = (sharings[0].backup_id, sharings[0].from_project_id, _ids_and_recipients(sharings))
    connection.execute(_INSERT_SHARING_EVENTS, (kind, cause.at, *by, *of))


def _insert_backup_event(connection: sqlite3.Connection, kind: str, backup_id: str, owner: str, cause: Cause) -> None:
    by = (cause.project_id, cause.user_id, cause.request_id)
    connection.execute(_INSERT_BACKUP_EVENT, (kind, cause.at, *by, backup_id, owner))


def _ids_and_recipients(sharings: Sequence[Sharing]) -> str:
    return json.dumps([(sharing.id, sharing.to_project_id) for sharing in sharings])
