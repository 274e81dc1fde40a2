"""The domain model. This module imports none of our packages, so every package may import it.

Backups, sharings and events are named tuples: a page makes hundreds of them, each in a third of the time of a frozen
dataclass. Times are whole microseconds since 1970-01-01 UTC; identifiers are in canonical form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

Micros = int
"""A point in time: microseconds since 1970-01-01T00:00:00 UTC, negative before."""

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- only to write times, which are all UTC


def rfc3339(at: Micros) -> str:
    """Return a time as RFC 3339 in UTC, with microseconds."""
    return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%dT%H:%M:%S.%f}Z"


AVAILABLE = "available"
"""The one ``Backup.status`` in which a backup can be shared."""


class Backup(NamedTuple):
    """A volume backup as described by the backup service; None: not given."""

    id: str
    project_id: str
    """The owner: the only project that may share it."""
    status: str
    name: str | None = None
    volume_id: str | None = None
    availability_zone: str | None = None
    size: int | None = None
    """Size in GiB."""
    object_count: int | None = None
    container: str | None = None
    description: str | None = None
    fail_reason: str | None = None
    snapshot_id: str | None = None
    service_metadata: str | None = None
    is_incremental: bool | None = None
    has_dependent_backups: bool | None = None
    created_at: Micros | None = None
    data_timestamp: Micros | None = None
    updated_at: Micros | None = None


class Sharing(NamedTuple):
    """A backup shared with one project. A sharing is active until cancelled or expired, and then kept as history."""

    id: str
    backup_id: str
    from_project_id: str
    """The giver: the backup's owner."""
    to_project_id: str
    """The recipient."""
    created_at: Micros
    updated_at: Micros | None = None
    deleted_at: Micros | None = None
    """Time of the cancellation or of the recorded end; None before."""
    expires_at: Micros | None = None
    """Time when the sharing ends by itself, recorded or not; None: never."""


class Event(NamedTuple):
    """Record of a change: its kind, its cause and its object."""

    kind: str
    at: Micros
    by_project_id: str
    by_user_id: str
    request_id: str
    backup_id: str
    from_project_id: str
    sharing_id: str | None
    to_project_id: str | None


class SharingDetail(NamedTuple):
    """An active sharing with its backup."""

    sharing: Sharing
    backup: Backup


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as identified by an identity provider."""

    project_id: str
    """Empty for a caller that belongs to no project, such as an internal service."""
    roles: frozenset[str]
    user_id: str = ""
    """The caller's name in logs and events; never a secret."""
    domain_id: str = ""
    """Id of the project's domain; empty if the identity provider does not know it."""
    can_be_identified_again: bool = field(default=True, compare=False)
    """Whether the same credentials still prove the caller's identity later, see `IdentityProvider.identify_again`."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a longer list."""

    items: Sequence[T]
    more: bool
    """Whether further items follow this page."""
