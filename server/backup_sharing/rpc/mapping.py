"""Conversion between the model and protobuf messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from backup_sharing.errors import InvalidArgument, Violation
from backup_sharing.model import Backup, Micros, Sharing, SharingDetail
from backupsharing.v2 import backup_pb2, backup_sharing_pb2, sharing_pb2

_TIMES = ("created_at", "data_timestamp", "updated_at")
_PLAIN = tuple(name for name in Backup._fields if name not in _TIMES)

_AT_ONCE = 100
"""Items of a response that are converted before other tasks may run."""

T = TypeVar("T")

_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799
"""Seconds of 0001-01-01T00:00:00 and 9999-12-31T23:59:59, the range of a ``Timestamp``."""


async def in_parts(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Yield items in parts; let other tasks run between them, as a whole page takes as long as many other calls."""
    for start in range(0, len(items), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + _AT_ONCE]


def timestamp(micros: Micros) -> Timestamp:
    """Convert a time to a message."""
    time = Timestamp()
    _set_time(time, micros)
    return time


def _set_time(time: Timestamp, micros: Micros) -> None:
    # Set in place, because a constructor copies a message argument.
    seconds, rest = divmod(micros, 1_000_000)
    time.seconds, time.nanos = seconds, rest * 1000


def micros(field: str, time: Timestamp) -> Micros:
    """Convert a message to a time, rounded down to a microsecond.

    Raises:
        InvalidArgument: the time is outside the years 1 to 9999; the violation names ``field``.
    """
    if not (_EARLIEST <= time.seconds <= _LATEST and 0 <= time.nanos < 1_000_000_000):
        description = (
            f"The value of {field} is incorrect: {time.seconds} s {time.nanos} ns is not in the years 1 to 9999."
        )
        raise InvalidArgument([Violation(field, description)])
    return time.seconds * 1_000_000 + time.nanos // 1000


def sharing(value: Sharing) -> sharing_pb2.Sharing:
    """Convert a sharing to the message in the response to POST."""
    message = sharing_pb2.Sharing(
        id=value.id,
        backup_id=value.backup_id,
        from_project_id=value.from_project_id,
        to_project_id=value.to_project_id,
    )
    _set_time(message.created_at, value.created_at)
    if value.updated_at is not None:
        _set_time(message.updated_at, value.updated_at)
    if value.deleted_at is not None:
        _set_time(message.deleted_at, value.deleted_at)
        message.deleted = "true"
    if value.expires_at is not None:
        _set_time(message.expire_time, value.expires_at)
    return message


def sharings(values: Iterable[Sharing]) -> list[sharing_pb2.Sharing]:
    """Convert sharings, in the same order."""
    return [sharing(value) for value in values]


class DetailMapper:
    """Converts the sharings of one page; converts each backup once."""

    def __init__(self) -> None:
        self._backups: dict[str, backup_pb2.Backup] = {}

    def add(self, values: Iterable[SharingDetail], response: backup_sharing_pb2.ListSharingsResponse) -> None:
        """Convert sharings with their backups and add them to the response, in the same order.

        They are made in their place: a repeated field copies messages that are appended, with the backup inside.
        """
        for sharing, of in values:
            message = response.shared.add()
            known = self._backups.get(of.id)
            if known is None:
                known = self._backups[of.id] = backup(of)
            message.backup.CopyFrom(known)
            _set_detail(message, sharing)


def detail(value: SharingDetail) -> sharing_pb2.SharingDetail:
    """Convert a sharing with its backup to the message in the responses of list and get."""
    message = sharing_pb2.SharingDetail()
    _set_backup(message.backup, value.backup)
    _set_detail(message, value.sharing)
    return message


def _set_detail(message: sharing_pb2.SharingDetail, given: Sharing) -> None:
    message.id = given.id
    message.backup_id = given.backup_id
    message.from_project_id = given.from_project_id
    message.to_project_id = given.to_project_id
    _set_time(message.created_at, given.created_at)
    if given.updated_at is not None:
        _set_time(message.updated_at, given.updated_at)
    if given.expires_at is not None:
        _set_time(message.expire_time, given.expires_at)


def backup(value: Backup) -> backup_pb2.Backup:
    """Convert a backup to a message; fields that are None stay unset."""
    message = backup_pb2.Backup()
    _set_backup(message, value)
    return message


def _set_backup(message: backup_pb2.Backup, value: Backup) -> None:
    message.SetInParent()  # an empty backup is a backup too
    for name in _PLAIN:
        known = getattr(value, name)
        if known is not None:
            setattr(message, name, known)
    for name in _TIMES:
        at = getattr(value, name)
        if at is not None:
            _set_time(getattr(message, name), at)


def to_backup(message: backup_pb2.Backup) -> tuple[Backup, Sequence[Violation]]:
    """Convert a message to a backup, and return the violations of times outside the years 1 to 9999.

    Other values are not checked.
    """
    given: dict[str, Any] = {"id": "", "project_id": "", "status": ""}
    misread: list[Violation] = []
    for field, value in message.ListFields():
        try:
            given[field.name] = micros(f"backup.{field.name}", value) if field.name in _TIMES else value
        except InvalidArgument as refused:
            misread += refused.violations
    return Backup(**given), misread
