"""Failures as exception types. Each failure has a reason; `rpc.status` maps it to a gRPC status.

``reason`` is a value of ``backupsharing.v2.ErrorReason`` without its prefix. The message is for
the caller: it names the member, the value and the expected value, and never contains SQL, a path,
a driver's text or a secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

MOST_NAMED = 20
"""Maximum number of projects in a message, because a call's status must fit into 8 KiB of HTTP/2 trailers."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid member of a request."""

    field: str
    """Path of the member in the request message: ``shared.to_project_ids[1]``."""
    description: str
    """The error, the value and the expected value."""
    reason: str = "INVALID_REQUEST"
    """A more specific reason, if the contract defines one for this member."""


class Failure(Exception):
    """Base class of all errors that are reported to callers. Any other exception is a defect."""

    reason: ClassVar[str]

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata
        """Values for ``ErrorInfo.metadata``: identifiers of the objects in the message."""


class TokenMissing(Failure):
    """The call has no credential."""

    reason = "TOKEN_MISSING"


class TokenInvalid(Failure):
    """The credential is unknown or has expired; the caller cannot distinguish the two."""

    reason = "TOKEN_INVALID"


class ProxyRequired(Failure):
    """The call did not come through the authenticating proxy, or lacks the proxy's credential."""

    reason = "PROXY_REQUIRED"


class ProjectForbidden(Failure):
    """The caller belongs to another project than the project of the request."""

    reason = "PROJECT_FORBIDDEN"


class RoleMissing(Failure):
    """None of the caller's roles allows this call."""

    reason = "ROLE_MISSING"


class AccessRuleMissing(Failure):
    """The access rules of the token's application credential do not allow the request."""

    reason = "ACCESS_RULE_MISSING"


class InvalidArgument(Failure):
    """The request has invalid values; lists all violations."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__(" ".join(violation.description for violation in self.violations))
        specific = (violation.reason for violation in self.violations if violation.reason != type(self).reason)
        self.specific_reason = next(specific, type(self).reason)
        """The first reason that is more specific than the reason of this class, or the latter."""


class BackupNotFound(Failure):
    """The backup does not exist or belongs to another project; the caller cannot distinguish the two."""

    reason = "BACKUP_NOT_FOUND"

    def __init__(self, backup_id: str) -> None:
        super().__init__(f"Backup {backup_id} could not be found.", backup_id=backup_id)


class SharingNotFound(Failure):
    """No active sharing has this id, or it is between other projects; the caller cannot distinguish the two."""

    reason = "SHARING_NOT_FOUND"

    def __init__(self, sharing_id: str) -> None:
        super().__init__(f"Sharing {sharing_id} could not be found.", sharing_id=sharing_id)


class NotTheGiver(Failure):
    """The recipient tried to cancel a sharing; only the giver may."""

    reason = "NOT_THE_GIVER"

    def __init__(self, sharing_id: str) -> None:
        super().__init__(
            f"Sharing {sharing_id} can be cancelled only by the project that gave it.", sharing_id=sharing_id
        )


class BackupNotAvailable(Failure):
    """The backup's status does not allow sharing it."""

    reason = "BACKUP_NOT_AVAILABLE"

    def __init__(self, backup_id: str, status: str) -> None:
        super().__init__(
            f"Backup {backup_id} has status '{status}'; only a backup with status 'available' can be shared.",
            backup_id=backup_id,
            status=status,
        )


class BackupOwnerFixed(Failure):
    """An upsert would give a backup to another project."""

    reason = "BACKUP_OWNER_FIXED"

    def __init__(self, backup_id: str) -> None:
        super().__init__(
            f"Backup {backup_id} belongs to another project; the owner of a backup cannot be changed.",
            backup_id=backup_id,
        )


class AlreadyShared(Failure):
    """Some recipients already have an active sharing of the backup; the call stored nothing."""

    reason = "ALREADY_SHARED"

    def __init__(self, backup_id: str, project_ids: Iterable[str]) -> None:
        self.project_ids = tuple(project_ids)
        projects = ", ".join(self.project_ids[:MOST_NAMED])
        others = len(self.project_ids) - MOST_NAMED
        more = f" and {others} more" if others > 0 else ""
        super().__init__(
            f"Backup {backup_id} is already shared with {projects}{more}.",
            backup_id=backup_id,
            to_project_ids=projects,
        )


class IdempotencyKeyReused(Failure):
    """The idempotency key was used before with another request."""

    reason = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("The idempotency key was used before with another request; use a new key for a new request.")


class QuotaUsedUp(Failure):
    """The call would exceed the maximum of active sharings of a backup; the call stored nothing."""

    reason = "SHARING_QUOTA_USED_UP"

    def __init__(self, backup_id: str, limit: int) -> None:
        self.backup_id = backup_id
        super().__init__(
            f"Backup {backup_id} would have more than {limit} active sharings, the most one backup may have.",
            backup_id=backup_id,
            limit=str(limit),
        )


class CursorExpired(Failure):
    """The events after a cursor are no longer kept."""

    reason = "CURSOR_EXPIRED"

    def __init__(self, oldest_cursor: str) -> None:
        super().__init__(
            f"The events after the cursor are no longer kept; the oldest cursor that can be used is {oldest_cursor}.",
            oldest_cursor=oldest_cursor,
        )


class Overloaded(Failure):
    """A limit on waiting calls, connections or rates is exceeded; the call stored nothing."""

    reason = "OVERLOADED"


class Unavailable(Failure):
    """The server or its store is not usable at present; the call stored nothing."""

    reason = "UNAVAILABLE"


class OutcomeUnknown(Failure):
    """The commit of a change has begun, and its outcome is unknown: the change may be stored."""

    reason = "OUTCOME_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "It is not known whether the call was carried out: what it asked for may be stored. Look, or call again"
            " with the same idempotency key."
        )


class IdentityUnavailable(Failure):
    """The identity service cannot be reached, so the caller cannot be identified."""

    reason = "IDENTITY_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("The identity service cannot be asked whose the token is; try again later.")


class DeadlineTooClose(Failure):
    """The call could not be carried out before its deadline; the call stored nothing and will store nothing."""

    reason = "DEADLINE_TOO_CLOSE"

    def __init__(self, seconds: float = 0.0, margin: float = 0.0) -> None:
        """Name the time that was too short.

        Args:
            seconds: time of the call from its arrival to its deadline; 0: none.
            margin: part of it, before the deadline, that is kept to report the outcome of a change.
        """
        if seconds <= 0:
            how = "The deadline had passed when the call arrived"
        elif margin <= 0:
            how = f"The call had {_shown(seconds)}, and could not be carried out in that time"
        else:
            how = (
                f"The call had {_shown(seconds)}, of which the last {_shown(margin)} are kept to report the outcome,"
                f" and could not be carried out in the first {_shown(seconds - margin)}"
            )
        super().__init__(f"{how}; nothing was stored. Try again with a later deadline.")


class StoredDataUnreadable(Failure):
    """Stored data cannot be read."""

    reason = "STORED_DATA_UNREADABLE"


def _shown(seconds: float) -> str:
    return f"{round(seconds * 1000)} ms" if seconds < 0.9995 else f"{round(seconds, 1):g} s"
