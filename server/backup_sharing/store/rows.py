"""Conversion between rows, parameters and stored JSON, and backups and sharings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from backup_sharing.model import Backup, Event, Sharing, SharingDetail
from backup_sharing.rules.state import Key, StoredKey

SHARING_FIELDS: Final = (
    "id",
    "backup_id",
    "from_project_id",
    "to_project_id",
    "created_at",
    "updated_at",
    "deleted_at",
    "expires_at",
)
"""Members of `Sharing`, in their order; the columns have the same names."""

BACKUP_FIELDS: Final = (
    "id",
    "project_id",
    "status",
    "name",
    "volume_id",
    "availability_zone",
    "size",
    "object_count",
    "container",
    "description",
    "fail_reason",
    "snapshot_id",
    "service_metadata",
    "is_incremental",
    "has_dependent_backups",
    "created_at",
    "data_timestamp",
    "updated_at",
)
"""Members of `Backup`, in their order; the columns have the same names."""

EVENT_FIELDS: Final = Event._fields
"""Members of `Event`, in their order; the columns have the same names."""

_BOOLEANS: Final = tuple(map(BACKUP_FIELDS.index, ("is_incremental", "has_dependent_backups")))

SHARING_COLUMNS: Final = ", ".join(f"s.{name}" for name in SHARING_FIELDS)
"""Columns to select from ``sharings AS s`` for `sharing_of`."""

BACKUP_COLUMNS: Final = ", ".join(f"b.{name}" for name in BACKUP_FIELDS)
"""Columns to select from ``backups AS b`` for `backup_of`."""

Row = tuple[Any, ...]


def sharing_of(row: Row) -> Sharing:
    """Return the sharing of a row of `SHARING_COLUMNS`."""
    return Sharing._make(row)


def backup_of(row: Row) -> Backup:
    """Return the backup of a row of `BACKUP_COLUMNS`."""
    values = list(row)
    for place in _BOOLEANS:
        if values[place] is not None:
            values[place] = bool(values[place])
    return Backup._make(values)


def detail_of(row: Row) -> SharingDetail:
    """Return the sharing and the backup of a row of `SHARING_COLUMNS`, then `BACKUP_COLUMNS`."""
    split = len(SHARING_FIELDS)
    return SharingDetail(sharing_of(row[:split]), backup_of(row[split:]))


def details_of(rows: Iterable[Row], backup: Callable[[Row], Backup] = backup_of) -> list[SharingDetail]:
    """Return the result of `detail_of` for each row; rows of one backup share its object.

    ``backup``: converts the columns of a backup.
    """
    split = len(SHARING_FIELDS)
    known: dict[str, Backup] = {}
    details = []
    for row in rows:
        sharing = Sharing._make(row[:split])
        of = known.get(sharing.backup_id)
        if of is None:
            of = known[sharing.backup_id] = backup(row[split:])
        details.append(SharingDetail(sharing, of))
    return details


def backup_values(backup: Backup) -> dict[str, object]:
    """Return the value of each column of ``backups``."""
    values: dict[str, object] = {name: getattr(backup, name) for name in BACKUP_FIELDS}
    values["name_folded"] = None if backup.name is None else backup.name.casefold()
    return values


def answer_text(sharings: Sequence[Sharing]) -> str:
    """Return the sharings as JSON for storage. Without an end, servers of the previous version can read it too."""
    return json.dumps([_members_of(sharing) for sharing in sharings])


def _members_of(sharing: Sharing) -> dict[str, object]:
    members: dict[str, object] = {name: getattr(sharing, name) for name in SHARING_FIELDS}
    if sharing.expires_at is None:
        del members["expires_at"]
    return members


def answer_of(text: str) -> Sequence[Sharing] | None:
    """Return the sharings of a text of `answer_text`; None for any other text."""
    try:
        return [Sharing(**members) for members in json.loads(text)]
    except (ValueError, TypeError):
        return None


def key_row(key: Key, stored: StoredKey) -> Row:
    """Return a row of ``idempotency_keys``: project_id, method, key, fingerprint, answer, expires_at."""
    return (*key, stored.fingerprint, answer_text(stored.answer or ()), stored.expires_at)


def stored_key(row: Row) -> tuple[Key, StoredKey]:
    """Return the key and the stored data of a row in the form of `key_row`."""
    project_id, method, key, fingerprint, answer, expires_at = row
    return (project_id, method, key), StoredKey(fingerprint, answer_of(answer), expires_at)
