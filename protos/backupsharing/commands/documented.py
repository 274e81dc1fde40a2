"""Sharings in the JSON of the documented REST API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backupsharing.client import Sharing, SharingDetail
from backupsharing.commands.text import writes_unicode

_BACKUP = (
    *("availability_zone", "container", "created_at", "data_timestamp", "description", "fail_reason"),
    *("has_dependent_backups", "id", "is_incremental", "name", "object_count", "size", "snapshot_id", "status"),
    *("updated_at", "volume_id", "service_metadata"),
)
_DETAIL = ("backup_id", "created_at", "from_project_id", "id", "to_project_id", "updated_at")


def sharings(values: Sequence[Sharing]) -> str:
    """Return the JSON of a response to POST."""
    return _text({"shared": [_sharing(value) for value in values]})


def details(values: Sequence[SharingDetail]) -> str:
    """Return the JSON of a response with a list."""
    return _text({"shared": [_detail(value) for value in values]})


def detail(value: SharingDetail) -> str:
    """Return the JSON of a response with one sharing."""
    return _text({"shared": _detail(value)})


def count(value: int) -> str:
    """Return the JSON of a response with a count."""
    return _text({"count": value})


def _sharing(value: Sharing) -> dict[str, Any]:
    return {
        "backup_id": value.backup_id,
        "deleted": None if value.is_active else "true",
        "created_at": _plain(value.created_at),
        "updated_at": _plain(value.updated_at),
        "to_project_id": value.to_project_id,
        "from_project_id": value.from_project_id,
        "deleted_at": _plain(value.deleted_at),
        "id": value.id,
    }


def _detail(value: SharingDetail) -> dict[str, Any]:
    backup = {name: _plain(getattr(value.backup, name)) for name in _BACKUP}
    return {"backup": backup, **{name: _plain(getattr(value, name)) for name in _DETAIL}}


def _plain(value: object) -> object:
    # The documented times have no offset; they are UTC.
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def _text(document: object) -> str:
    # Names come from other projects. They must not control the terminal, and not every terminal can write them.
    text = json.dumps(document, indent=2, ensure_ascii=not writes_unicode())
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
