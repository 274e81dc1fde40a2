"""The commands that change data. All values are already valid: identifiers are in canonical form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from backup_sharing.errors import Failure
from backup_sharing.model import Backup, Micros
from programkit.stages import Stages


@dataclass(frozen=True, slots=True)
class Cause:
    """The caller, the request and the time of a change; written to the change's event."""

    project_id: str
    user_id: str
    request_id: str
    at: Micros
    commit_by: float | None = None
    """Reading of ``time.monotonic()`` after which no commit may begin; None: no limit."""
    answer_by: float | None = None
    """Reading of ``time.monotonic()`` by which the caller must get a result, `OutcomeUnknown` if nothing else is known;
    None: the store sets the limit."""
    stages: Stages | None = field(default=None, compare=False, repr=False)
    """Receives the stages of the change; None: nobody needs them."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The idempotency key of a call, for safe retries. The key's scope is ``Cause.project_id`` and ``method``."""

    key: str
    method: str
    fingerprint: bytes
    """Digest of the request: equal if and only if two requests are equal."""
    expires_at: Micros


class OnConflict(Enum):
    """Handling of a recipient that already has an active sharing of the backup."""

    REFUSE = "refuse"
    """Refuse the whole call."""
    RETURN = "return"
    """Return the existing sharing, and share with the other recipients."""


@dataclass(frozen=True, slots=True)
class Share:
    """Share one backup with several projects, all or nothing."""

    backup_id: str
    from_project_id: str
    to_project_ids: Sequence[str]
    """Distinct, at least one, none of them ``from_project_id``."""
    sharing_ids: Sequence[str]
    """One new id per recipient, in the same order."""
    on_conflict: OnConflict
    max_active: int
    """Maximum active sharings of the backup after the call; 0: no limit."""
    cause: Cause
    idempotency: Idempotency | None = None
    expires_at: Micros | None = None
    """Time when the new sharings end by themselves; None: never."""
    unless_repeated: Failure | None = None
    """Failure of the call, unless its idempotency key has a result already; None: none."""
    validate_only: bool = False
    """Check everything and store nothing; new sharings in the result have an empty id."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one sharing, as ``project_id``."""

    sharing_id: str
    project_id: str
    cause: Cause
    idempotency: Idempotency | None = None
    validate_only: bool = False
    """Check everything and store nothing."""


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Cancel every active sharing of a backup, as ``project_id``."""

    backup_id: str
    project_id: str
    cause: Cause
    idempotency: Idempotency | None = None
    validate_only: bool = False
    """Check everything and store nothing."""


@dataclass(frozen=True, slots=True)
class PutBackup:
    """Insert or replace a backup."""

    backup: Backup
    cause: Cause


@dataclass(frozen=True, slots=True)
class RemoveBackup:
    """Remove a backup and cancel its active sharings."""

    backup_id: str
    cause: Cause


NOBODY: Final = Cause(project_id="", user_id="", request_id="", at=0)
"""Cause of a change that no caller asked for."""


@dataclass(frozen=True, slots=True)
class EndDue:
    """Record the end of sharings of one backup whose time has come; other sharings stay as they are."""

    backup_id: str
    sharing_ids: Sequence[str]
    cause: Cause = NOBODY


@dataclass(frozen=True, slots=True)
class PurgeEvents:
    """Delete all events up to a position."""

    through: int
    """Position of the last event to delete."""
    cause: Cause = NOBODY


@dataclass(frozen=True, slots=True)
class PurgeSharings:
    """Delete sharings whose end is recorded; other sharings stay as they are. No event tells of this."""

    sharing_ids: Sequence[str]
    cause: Cause = NOBODY


Command: TypeAlias = Share | Cancel | CancelAll | PutBackup | RemoveBackup | EndDue | PurgeEvents | PurgeSharings
"""Any command that changes data."""
