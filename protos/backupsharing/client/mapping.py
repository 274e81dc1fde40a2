"""Conversion between messages and the values of `backupsharing.client.model`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from backupsharing.client.model import Backup, Sharing, SharingDetail
from backupsharing.v2 import backup_pb2, sharing_pb2

_OF_BACKUP = tuple(field.name for field in fields(Backup))


def backup(message: backup_pb2.Backup) -> Backup:
    """Convert a message to a backup."""
    given: dict[str, Any] = {"id": "", "project_id": "", "status": ""}
    for field, value in message.ListFields():
        # A newer service may send fields that this client does not know.
        if field.name in _OF_BACKUP:
            given[field.name] = _time(value) if isinstance(value, Timestamp) else value
    return Backup(**given)


def to_backup(value: Backup) -> backup_pb2.Backup:
    """Convert a backup to a message.

    Raises:
        ValueError: a time has no time zone.
    """
    message = backup_pb2.Backup()
    for name in _OF_BACKUP:
        known = getattr(value, name)
        if isinstance(known, datetime):
            if known.tzinfo is None:
                raise ValueError(f"{name} has no time zone: {known!r}")
            getattr(message, name).FromDatetime(known)
        elif known is not None:
            setattr(message, name, known)
    return message


def sharing(message: sharing_pb2.Sharing) -> Sharing:
    """Convert a message to a sharing."""
    return Sharing(
        id=message.id,
        backup_id=message.backup_id,
        from_project_id=message.from_project_id,
        to_project_id=message.to_project_id,
        created_at=_time(message.created_at),
        updated_at=_time(message.updated_at) if message.HasField("updated_at") else None,
        deleted_at=_time(message.deleted_at) if message.HasField("deleted_at") else None,
    )


def sharings(messages: Iterable[sharing_pb2.Sharing]) -> tuple[Sharing, ...]:
    """Convert messages to sharings, in the same order."""
    return tuple(sharing(message) for message in messages)


def detail(message: sharing_pb2.SharingDetail) -> SharingDetail:
    """Convert a message to a sharing with its backup."""
    return SharingDetail(
        id=message.id,
        backup_id=message.backup_id,
        from_project_id=message.from_project_id,
        to_project_id=message.to_project_id,
        created_at=_time(message.created_at),
        updated_at=_time(message.updated_at) if message.HasField("updated_at") else None,
        backup=backup(message.backup),
    )


def _time(at: Timestamp) -> datetime:
    return at.ToDatetime(tzinfo=UTC)
