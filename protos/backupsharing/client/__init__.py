"""A client for backup sharing, with typed values, an exception for each kind of failure, and safe retries.

>>> with Client(target, project=giver, token=token) as client:
...     for sharing in client.share(backup_id, [recipient, other]):
...         print(sharing.to_project_id in (recipient, other), sharing.is_active)
True True
True True

`AsyncClient` has the same methods for asyncio.
"""

from backupsharing.client.asynchronous import AsyncClient
from backupsharing.client.endpoint import BadEndpoint, Endpoint
from backupsharing.client.errors import (
    AlreadyShared,
    BackupNotAvailable,
    BackupNotFound,
    BackupOwnerFixed,
    BackupSharingError,
    CursorExpired,
    DeadlineExceeded,
    IdempotencyKeyReused,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    QuotaUsedUp,
    ServerFault,
    SharingNotFound,
    Unavailable,
    Violation,
)
from backupsharing.client.model import (
    Access,
    AccessBasis,
    Backup,
    EventFilter,
    EventKind,
    OnConflict,
    Sharing,
    SharingDetail,
    SharingEvent,
    SharingFilter,
    SortDir,
    SortKey,
)
from backupsharing.client.retrying import Retrying
from backupsharing.client.synchronous import Client
from backupsharing.client.watching.awaited import AsyncWatch
from backupsharing.client.watching.blocking import Watch

__all__ = [
    "Access",
    "AccessBasis",
    "AlreadyShared",
    "AsyncClient",
    "AsyncWatch",
    "Backup",
    "BackupNotAvailable",
    "BackupNotFound",
    "BackupOwnerFixed",
    "BackupSharingError",
    "BadEndpoint",
    "Client",
    "CursorExpired",
    "DeadlineExceeded",
    "Endpoint",
    "EventFilter",
    "EventKind",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "NotAllowed",
    "NotAuthenticated",
    "OnConflict",
    "QuotaUsedUp",
    "Retrying",
    "ServerFault",
    "Sharing",
    "SharingDetail",
    "SharingEvent",
    "SharingFilter",
    "SharingNotFound",
    "SortDir",
    "SortKey",
    "Unavailable",
    "Violation",
    "Watch",
]
