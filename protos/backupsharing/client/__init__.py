"""A client for backup sharing, with typed values, an exception for each kind of failure, and safe retries.

>>> with Client(target, project=giver, token=token) as client:
...     for sharing in client.share(backup_id, [recipient, other]):
...         print(sharing.to_project_id in (recipient, other), sharing.is_active)
True True
True True

`AsyncClient` has the same methods for asyncio.
"""

from backupsharing.client.asynchronous import AsyncClient
from backupsharing.client.door import BadDoor, Door
from backupsharing.client.errors import (
    AlreadyShared,
    BackupNotAvailable,
    BackupNotFound,
    BackupOwnerFixed,
    BackupSharingError,
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
from backupsharing.client.model import Backup, OnConflict, Sharing, SharingDetail, SharingFilter, SortDir, SortKey
from backupsharing.client.retrying import Retrying
from backupsharing.client.synchronous import Client

__all__ = [
    "AlreadyShared",
    "AsyncClient",
    "Backup",
    "BackupNotAvailable",
    "BackupNotFound",
    "BackupOwnerFixed",
    "BackupSharingError",
    "BadDoor",
    "Client",
    "DeadlineExceeded",
    "Door",
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
    "SharingFilter",
    "SharingNotFound",
    "SortDir",
    "SortKey",
    "Unavailable",
    "Violation",
]
