"""One example of every failure that the server defines."""

from __future__ import annotations

from collections.abc import Iterator

from backup_sharing import errors
from backup_sharing.errors import Failure, Violation
from tests.server.identities import BACKUP, RECIPIENT, UNKNOWN

EXAMPLES: tuple[Failure, ...] = (
    errors.TokenMissing("no token"),
    errors.TokenInvalid("unknown token"),
    errors.ProxyRequired("not through the proxy"),
    errors.ProjectForbidden("another project"),
    errors.RoleMissing("no role"),
    errors.AccessRuleMissing("no rule"),
    errors.InvalidArgument([Violation("limit", "too small")]),
    errors.BackupNotFound(BACKUP),
    errors.SharingNotFound(UNKNOWN),
    errors.NotTheGiver(UNKNOWN),
    errors.BackupNotAvailable(BACKUP, "error"),
    errors.BackupOwnerFixed(BACKUP),
    errors.AlreadyShared(BACKUP, [RECIPIENT]),
    errors.IdempotencyKeyReused(),
    errors.QuotaUsedUp(BACKUP, 1000),
    errors.CursorExpired("0123456789abcdef:5"),
    errors.Overloaded("too many"),
    errors.Unavailable("closed"),
    errors.OutcomeUnknown(),
    errors.IdentityUnavailable(),
    errors.DeadlineTooClose(),
    errors.StoredDataUnreadable("unreadable"),
    errors.CursorExpired("5f1c9a0e7b3d2846:1042"),
)

SPECIFIC_REASONS = ("BACKUP_ID_MISSING", "BACKUP_ID_MALFORMED", "SHARING_ID_MALFORMED")
"""More specific reasons of `errors.InvalidArgument`, besides its default."""


def kinds(of: type[Failure] = Failure) -> Iterator[type[Failure]]:
    """Yield every class of failure that the server defines."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("backup_sharing."):
            yield kind
            yield from kinds(kind)
