"""The values of the client. Times are aware and in UTC; None means that the service gave no value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

OnConflict = Literal["refuse", "return"]
"""Treatment of recipients that already have the backup: refuse the whole call, or return the existing sharings."""

SortKey = Literal["name", "status", "size", "id", "created_at", "updated_at"]
SortDir = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A volume backup, as the owner's backup service described it.

    >>> Backup(id="066b1e37-9305-4057-97e5-2e99b21fc71d", project_id="c13f", status="available").size is None
    True
    """

    id: str
    project_id: str
    """The owner: the only project that may share it."""
    status: str
    """Only a backup with the status ``available`` can be shared."""
    name: str | None = None
    volume_id: str | None = None
    availability_zone: str | None = None
    size: int | None = None
    """Size of the volume in GiB."""
    object_count: int | None = None
    container: str | None = None
    description: str | None = None
    fail_reason: str | None = None
    snapshot_id: str | None = None
    service_metadata: str | None = None
    is_incremental: bool | None = None
    has_dependent_backups: bool | None = None
    created_at: datetime | None = None
    data_timestamp: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """A sharing makes one backup visible to one project. A cancelled sharing never becomes active again."""

    id: str
    backup_id: str
    from_project_id: str
    """The giver."""
    to_project_id: str
    """The recipient."""
    created_at: datetime
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    """Time when the sharing was cancelled; None while it is active."""

    @property
    def is_active(self) -> bool:
        """Whether the recipient sees the backup."""
        return self.deleted_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingDetail:
    """An active sharing, together with the current state of the backup."""

    id: str
    backup_id: str
    from_project_id: str
    """The giver."""
    to_project_id: str
    """The recipient."""
    created_at: datetime
    updated_at: datetime | None = None
    backup: Backup


class SharingFilter(TypedDict, total=False):
    """Filters of a list or count of sharings. A sharing must match all given filters."""

    received: bool
    """True: sharings that the project received; otherwise sharings that it gave."""
    volume_id: str
    name: str
    """Part of the backup's name, ignoring case."""
    status: str
    """Status of the backup."""
    backup_id: str
    from_project_id: str
    to_project_id: str
    availability_zone: str
