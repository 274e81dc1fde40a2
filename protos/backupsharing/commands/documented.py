"""Sharings and events in the JSON of the REST API, access in that of the gRPC message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from backupsharing.client import Access, Sharing, SharingDetail, SharingEvent
from backupsharing.commands.text import rfc3339, writes_unicode

_BACKUP = (
    *("availability_zone", "container", "created_at", "data_timestamp", "description", "fail_reason"),
    *("has_dependent_backups", "id", "is_incremental", "name", "object_count", "size", "snapshot_id", "status"),
    *("updated_at", "volume_id", "service_metadata"),
)
_DETAIL = ("backup_id", "created_at", "from_project_id", "id", "to_project_id", "updated_at")
_EVENT = (
    *("cursor", "kind", "time", "sharing_id", "backup_id", "from_project_id", "to_project_id", "by_project_id"),
    *("by_user_id", "request_id"),
)


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


def access(value: Access) -> str:
    """Return the JSON of an answer to an access check."""
    given = {
        "basis": value.basis,
        "sharing_id": value.sharing_id,
        "owner_project_id": value.owner,
        "expire_time": None if value.expires_at is None else rfc3339(value.expires_at),
        "cursor": value.cursor,
    }
    return _text({"allowed": value.allowed, **_set(given)})


def events(values: Sequence[SharingEvent]) -> str:
    """Return the JSON of a page of events."""
    return _text({"events": [_event(value) for value in values]})


def event(value: SharingEvent) -> str:
    """Return the JSON of one event, in one line."""
    return _text(_event(value), indent=None)


def _event(value: SharingEvent) -> dict[str, Any]:
    return _set({name: getattr(value, name) for name in _EVENT} | {"time": rfc3339(value.time)})


def _set(members: dict[str, Any]) -> dict[str, Any]:
    # A member without a value is left out, as in the JSON of all protos.
    return {name: value for name, value in members.items() if value is not None}


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


def _text(document: object, indent: int | None = 2) -> str:
    # Names come from other projects. They must not control the terminal, and not every terminal can write them.
    text = json.dumps(document, indent=indent, ensure_ascii=not writes_unicode())
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)
