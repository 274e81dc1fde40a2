"""What every store promises. Each *must* here has a test in the contract suite whose name says it.

Identifiers come in canonical form and all values are already valid: a store checks what only
the stored data can tell, inside the transaction that changes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from backup_sharing.model import Backup, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, PutBackup, RemoveBackup, Share

PAGE_BYTES = 1024 * 1024
"""The most that the items of a page may take, as far as they vary: `Store.list_sharings`, `Store.list_backups`."""


class SortKey(Enum):
    """What a list of sharings is ordered by: the times and the id are the sharing's, the rest its backup's."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    ID = "id"
    NAME = "name"
    STATUS = "status"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class SharingFilter:
    """Which active sharings are meant. A filter that is None lets everything pass."""

    project_id: str
    """Whose: what this project gave or, with ``received``, what it got."""
    received: bool = False
    backup_id: str | None = None
    from_project_id: str | None = None
    to_project_id: str | None = None
    volume_id: str | None = None
    availability_zone: str | None = None
    status: str | None = None
    name: str | None = None
    """Substring of the backup's name, compared after Unicode casefolding; no character is special."""


@dataclass(frozen=True, slots=True)
class Position:
    """The place behind an item in an ordered list: the item's sort value and its id."""

    value: str | int | None
    id: str


@dataclass(frozen=True, slots=True)
class SharingOrder:
    """A total order: by ``key``, ties by id in the same direction, nulls last in both directions.

    Text is ordered by code point.
    """

    key: SortKey = SortKey.CREATED_AT
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of a list is wanted: up to ``limit`` items behind ``after``, or else past ``offset`` items."""

    limit: int
    offset: int = 0
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class SharingQuery:
    """One page of a list of sharings."""

    filter: SharingFilter
    part: Slice
    order: SharingOrder = field(default_factory=SharingOrder)


class Store(Protocol):
    """Backups, sharings and what became of them, durable.

    - A change that is acknowledged must survive the death of the process and of the machine.
    - A change that fails must not be stored, also not later; one that is never acknowledged, or that ends with
      `OutcomeUnknown`, must be stored whole, once, or not at all.
    - A change whose commit was begun must be answered by ``Cause.answer_by``: with `OutcomeUnknown`, if the store
      does not know by then.
    - A change must write its events in its own transaction.
    - A change must not begin to commit after ``Cause.commit_by``: it raises `DeadlineTooClose`.
    - A change whose caller was cancelled before its turn must not be made.
    - A change that is acknowledged must be seen by every read and change that begins afterwards,
      also through another store on the same data.
    - One failing change must not touch the changes that are made together with it: whatever waits may be made in
      one transaction, and shares without an idempotency key by the same statements, if it comes to the same.
    - When more changes wait than the store takes on, a change must raise `Overloaded`.
    - A store that cannot be reached, is locked or full must raise `Unavailable`; data that cannot be
      read must raise `StoredDataUnreadable`; no driver's exception may leave a store.
    - A change whose commit failed so that it may be stored must raise `OutcomeUnknown`.

    With an `Idempotency` (``share``, ``cancel``, ``cancel_all``):

    - The first success must be stored with its key in one transaction; a failure must not be stored.
    - The same key and fingerprint must give the first answer again, even if the sharing was cancelled since.
    - The same key with another fingerprint must raise `IdempotencyKeyReused`.
    - A second call while the first runs must wait for it and give its answer.
    - An expired key must count as never used.
    """

    @property
    def failed(self) -> asyncio.Event:
        """Must be set once only a fresh process can find out what is stored; then every call is `Unavailable`.

        The process should end at once, without letting go of the store.
        """
        ...

    async def share(self, command: Share) -> Sequence[Sharing]:
        """Share a backup; answers one sharing for each recipient, in the order asked for.

        Checks in this order: must raise `BackupNotFound` for an unknown backup or one of another
        project; then the idempotency key; must raise `BackupNotAvailable` unless its status is
        available; must raise `AlreadyShared` naming exactly the recipients with an active sharing
        (with `OnConflict.RETURN`, must answer their standing sharings instead); must raise
        `QuotaUsedUp` if new sharings would give the backup more than ``max_active`` active ones.
        A recipient whose sharing was cancelled must get a new one with a new id.
        """
        ...

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """Cancel one active sharing; answers it as it is afterwards.

        Must set ``deleted_at`` and ``updated_at`` to ``cause.at``. An unknown or cancelled sharing,
        or one between other projects, must raise `SharingNotFound`; the recipient's call must raise
        `NotTheGiver`. The cancelled row must stay as history.
        A stored answer to the same request must win over `SharingNotFound`; the key of another
        request is refused only after these checks.
        """
        ...

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """Cancel every active sharing of a backup; answers them as they are afterwards, ordered by id.

        Must raise `BackupNotFound` for an unknown backup or one of another project, before it looks
        at the idempotency key; must answer nothing for a backup with no active sharing.
        """
        ...

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Answer an active sharing that ``project_id`` gave or got; must raise `SharingNotFound` otherwise."""
        ...

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """Answer one page. Pages by position must neither skip nor repeat a sharing that stands throughout.

        A page of more than `PAGE_BYTES` must be cut short, but to one item at least; then more remain.
        """
        ...

    async def count_sharings(self, filter: SharingFilter) -> int:
        """Count what `list_sharings` would list in all with the same filter."""
        ...

    async def put_backup(self, command: PutBackup) -> Backup:
        """Insert or replace a backup, and answer it; its sharings must stand whatever its new status.

        Must raise `BackupOwnerFixed` if a backup with this id belongs to another project.
        Putting what is already there must change nothing, and write no event.
        """
        ...

    async def get_backup(self, backup_id: str) -> Backup:
        """Answer a backup of any project; must raise `BackupNotFound` otherwise."""
        ...

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """Answer backups ordered by id, of one project or of all, behind ``after_id``.

        A page of more than `PAGE_BYTES` must be cut short, but to one item at least; then more remain.
        """
        ...

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        """Remove a backup and cancel its active sharings in the same transaction; answers those, ordered by id.

        Must raise `BackupNotFound` for an unknown backup.
        """
        ...

    async def ping(self) -> None:
        """Return if the store can be read and written now; must raise `Unavailable` otherwise, within a second."""
        ...

    async def close(self) -> None:
        """Finish what is being committed and let go of the data; calls afterwards must raise `Unavailable`."""
        ...
