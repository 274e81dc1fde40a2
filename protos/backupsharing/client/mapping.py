"""Conversion between messages and the values of `backupsharing.client.model`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp

from backupsharing.client.model import Access, AccessBasis, Backup, Sharing, SharingDetail, SharingEvent
from backupsharing.v2 import backup_access_pb2, backup_pb2, sharing_pb2

_OF_BACKUP = tuple(field.name for field in fields(Backup))
_OPTIONAL_OF_EVENT: Sequence[Literal["sharing_id", "to_project_id", "by_project_id", "by_user_id", "request_id"]] = (
    *("sharing_id", "to_project_id", "by_project_id", "by_user_id", "request_id"),
)
_BASES: Mapping[int, AccessBasis] = {
    backup_access_pb2.ACCESS_BASIS_OWNER: "owner",
    backup_access_pb2.ACCESS_BASIS_SHARING: "sharing",
}


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
            getattr(message, name).CopyFrom(timestamp(name, known))
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
        expires_at=_time(message.expire_time) if message.HasField("expire_time") else None,
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
        expires_at=_time(message.expire_time) if message.HasField("expire_time") else None,
        backup=backup(message.backup),
    )


def access(message: backup_access_pb2.CheckAccessResponse, cursor: str) -> Access:
    """Convert a message to an answer.

    Args:
        message: the message.
        cursor: the place of the answer; in a batch, the message itself has none.
    """
    return Access(
        allowed=message.allowed,
        basis=_BASES.get(message.basis),
        sharing_id=message.sharing_id if message.HasField("sharing_id") else None,
        owner=message.owner_project_id if message.HasField("owner_project_id") else None,
        expires_at=_time(message.expire_time) if message.HasField("expire_time") else None,
        cursor=cursor,
    )


def event(message: backup_access_pb2.SharingEvent) -> SharingEvent:
    """Convert a message to an event."""
    given = {name: getattr(message, name) for name in _OPTIONAL_OF_EVENT if message.HasField(name)}
    return SharingEvent(
        cursor=message.cursor,
        kind=message.kind,
        time=_time(message.time),
        backup_id=message.backup_id,
        from_project_id=message.from_project_id,
        **given,
    )


def timestamp(name: str, at: datetime) -> Timestamp:
    """Convert a time to a message.

    Args:
        name: the name of the value, for the message of the exception.
        at: the time.

    Raises:
        ValueError: the time has no time zone.
    """
    if at.utcoffset() is None:
        raise ValueError(f"{name} has no time zone: {at!r}; expected one, such as datetime.now(UTC)")
    message = Timestamp()
    message.FromDatetime(at)
    return message


def _time(at: Timestamp) -> datetime:
    return at.ToDatetime(tzinfo=UTC)
