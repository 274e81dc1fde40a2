"""The values of the client. Times are aware and in UTC; None means that the service gave no value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

OnConflict = Literal["refuse", "return"]
"""Treatment of recipients that already have the backup: refuse the whole call, or return the existing sharings."""

EventKind = Literal["shared", "cancelled", "expired", "backup_put", "backup_removed"]
"""Kind of a change. A newer service may send other kinds."""

AccessBasis = Literal["owner", "sharing"]
"""Reason why a project may read a backup: it owns the backup, or has an active sharing of it."""

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
    """Empty if the sharing was only validated."""
    backup_id: str
    from_project_id: str
    """The giver."""
    to_project_id: str
    """The recipient."""
    created_at: datetime
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    """Time when the sharing was cancelled or ended by itself; None while it is active."""
    expires_at: datetime | None = None
    """Time when the sharing ends by itself; None if it does not."""

    @property
    def is_active(self) -> bool:
        """Whether the sharing was active when the service answered."""
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
    expires_at: datetime | None = None
    """Time when the sharing ends by itself; None if it does not."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The answer to the question whether a project may read a backup. "No" is falsy.

    >>> bool(Access(allowed=False, cursor="5f1c9a0e7b3d2846:1042"))
    False
    """

    allowed: bool
    basis: AccessBasis | None = None
    """The reason; None if the project may not read the backup, or for a reason that this client does not know."""
    sharing_id: str | None = None
    """The sharing; None for the owner."""
    owner: str | None = None
    """Project id of the backup's owner; None if the project may not read the backup."""
    expires_at: datetime | None = None
    """Time when the sharing ends by itself; None if it does not."""
    cursor: str
    """Place of this answer in the order of all events: a watch from here gets every later change."""

    def __bool__(self) -> bool:
        """Return `allowed`, so that ``if client.check_access(…):`` means what it says."""
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingEvent:
    """One change of a sharing or of a backup.

    The service does not tell a recipient who acted for the giver.
    """

    cursor: str
    """Place after this event: a watch from here begins with the next one."""
    kind: str
    """See `EventKind`."""
    time: datetime
    """Time of the change. Events are ordered by cursor; clocks of servers differ."""
    backup_id: str
    from_project_id: str
    """The giver: the owner of the backup."""
    sharing_id: str | None = None
    """None for changes of a backup."""
    to_project_id: str | None = None
    """The recipient; None for changes of a backup."""
    by_project_id: str | None = None
    """The project that made the change; None for ``expired`` and for recipients."""
    by_user_id: str | None = None
    """The user who made the change; None for ``expired`` and for recipients."""
    request_id: str | None = None
    """Id of the request that made the change; None for ``expired`` and for recipients."""


class EventFilter(TypedDict, total=False):
    """Filters of the history. An event must match all given filters. Times need a time zone."""

    backup_id: str
    sharing_id: str
    other_project_id: str
    """Events of sharings between the client's project and this one."""
    kind: EventKind
    start_time: datetime
    """Events at this time or later."""
    end_time: datetime
    """Events before this time."""
