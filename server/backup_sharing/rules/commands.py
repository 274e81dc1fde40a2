"""The changes that somebody can ask for. All values are already valid: identifiers come in canonical form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from backup_sharing.model import Backup, Micros


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a change is made: who asked for it, and when. Written to the event of the change."""

    project_id: str
    user_id: str
    request_id: str
    at: Micros
    commit_by: float | None = None
    """Reading of ``time.monotonic()`` after which no commit may begin; None: no limit."""
    answer_by: float | None = None
    """Reading by which the caller is told something, if only `OutcomeUnknown`; None: when the store finds it time."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What makes a retry safe. The scope of a key is ``Cause.project_id`` and ``method``."""

    key: str
    method: str
    fingerprint: bytes
    """Digest of what was asked for: equal exactly when two requests ask for the same."""
    expires_at: Micros


class OnConflict(Enum):
    """What to do when a recipient already has an active sharing of the backup."""

    REFUSE = "refuse"
    """Refuse the whole call."""
    RETURN = "return"
    """Answer with the standing sharing, and share with the others."""


@dataclass(frozen=True, slots=True)
class Share:
    """Share one backup with several projects, all or nothing."""

    backup_id: str
    from_project_id: str
    to_project_ids: Sequence[str]
    """Distinct, at least one, none of them ``from_project_id``."""
    sharing_ids: Sequence[str]
    """A fresh id for each recipient, in the same order."""
    on_conflict: OnConflict
    max_active: int
    """The most active sharings the backup may have afterwards; 0: any number."""
    cause: Cause
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one sharing, as ``project_id``."""

    sharing_id: str
    project_id: str
    cause: Cause
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Cancel every active sharing of a backup, as ``project_id``."""

    backup_id: str
    project_id: str
    cause: Cause
    idempotency: Idempotency | None = None


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


Command: TypeAlias = Share | Cancel | CancelAll | PutBackup | RemoveBackup
"""A change that somebody asks for."""
