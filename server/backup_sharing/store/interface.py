"""The contract of every store. Each *must* here has a test in the contract suite, named after it.

Identifiers are in canonical form and all values are already valid. A store checks only the conditions that depend on
stored data, inside the transaction that changes the data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from backup_sharing.model import Backup, Event, Micros, Page, Sharing, SharingDetail
from backup_sharing.rules.commands import Cancel, CancelAll, PutBackup, RemoveBackup, Share
from backup_sharing.store.history.retention import OldEvent as OldEvent
from backup_sharing.store.history.retention import OldSharing as OldSharing
from backup_sharing.store.history.retention import Retention as Retention

PAGE_BYTES = 1024 * 1024
"""Maximum bytes of the items of a page, as far as they vary: `Store.list_sharings`, `Store.list_backups`."""


class SortKey(Enum):
    """Sort key of a list of sharings: the times and the id are the sharing's, the other values its backup's."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    ID = "id"
    NAME = "name"
    STATUS = "status"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class SharingFilter:
    """Selection of active sharings. A filter that is None matches everything."""

    project_id: str
    """Project that gave the sharings or, with ``received``, received them."""
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
    """The place after an item in an ordered list: the item's sort value and id."""

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
    """Part of a list: up to ``limit`` items after ``after``, or else after the first ``offset`` items."""

    limit: int
    offset: int = 0
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class SharingQuery:
    """One page of a list of sharings."""

    filter: SharingFilter
    part: Slice
    order: SharingOrder = field(default_factory=SharingOrder)


@dataclass(frozen=True, slots=True)
class Access:
    """Facts that decide whether a project may read a backup."""

    owner_project_id: str | None
    """Owner of the backup; None: there is no such backup."""
    sharing: Sharing | None
    """Active sharing of the backup with the project; None: there is none."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the order of all events."""

    position: int
    """Dense: 1, 2, 3 and so on, the same for every reader."""
    event: Event


@dataclass(frozen=True, slots=True)
class LogBounds:
    """The events that a store keeps."""

    store_id: str
    """Identifies the data: 16 characters of ``[0-9a-f]``; a copy of all data has the same."""
    oldest: int
    """Position before the oldest event that is kept; 0: all events are kept."""
    newest: int
    """Position of the newest event; ``oldest`` if there is none."""


@dataclass(frozen=True, slots=True)
class CheckedAccess:
    """Answers to questions of access, all from one committed state."""

    accesses: Sequence[Access]
    """One for each question, in their order."""
    store_id: str
    """See `LogBounds.store_id`."""
    position: int
    """A position of this state: every event that is not in this state has a larger position."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selection of events. A filter that is None matches everything."""

    project_id: str | None = None
    """Only events of sharings that this project gave or received, and of its backups."""
    backup_id: str | None = None
    sharing_id: str | None = None
    other_project_id: str | None = None
    """Only events of sharings that this project gave or received."""
    kind: str | None = None
    since: Micros | None = None
    """Only events at this time or later."""
    before: Micros | None = None
    """Only events before this time."""


@dataclass(frozen=True, slots=True)
class Swept:
    """The result of `Store.end_due`."""

    ended: int
    """Number of sharings whose end this call recorded."""
    next_in: Micros | None
    """Microseconds until the next sharing ends, at the store's time; 0 or less: more are due; None: none ends."""


class EventLog(Protocol):
    """The part of a `Store` that reads events in their order. No event is skipped or repeated."""

    async def log_bounds(self) -> LogBounds:
        """Return the bounds of the log; every change acknowledged before this call must be at or before ``newest``."""
        ...

    async def events_after(self, position: int, limit: int) -> Sequence[StoredEvent]:
        """Return at most ``limit`` events after a position, the oldest first.

        Every change acknowledged before this call must be among these events, if they are fewer than ``limit``.
        """
        ...

    async def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Page[StoredEvent]:
        """Return a page of events in their order, or in the reverse order, beyond the position ``after``.

        Must include every change acknowledged before this call. A page may be cut short; then more remain.
        """
        ...


class Store(EventLog, Retention, Protocol):
    """Durable storage of backups, sharings and their history.

    - An acknowledged change must survive the death of the process and of the machine.
    - A change that fails must not be stored, also not later. A change that is never acknowledged, or that ends with
      `OutcomeUnknown`, must be stored whole and once, or not at all.
    - A change whose commit has begun must be answered by ``Cause.answer_by``: with `OutcomeUnknown` if the store does
      not know the outcome by then.
    - A change must write its events in its own transaction.
    - A change must not begin to commit after ``Cause.commit_by``: it raises `DeadlineTooClose`.
    - A change whose caller was cancelled before its turn must not be made.
    - An acknowledged change must be seen by every read and change that begins afterwards, also through another store on
      the same data.
    - A failing change must not affect the other changes of its transaction. The store may make all waiting changes in
      one transaction, and shares without an idempotency key by the same statements, if the result is the same.
    - When the limit of waiting changes is reached, a change must raise `Overloaded`.
    - A sharing that ends at the store's time or before is *due*: no read may show or count it, and every change must
      treat it as ended, whether or not its end is recorded. The store's time is the clock that was passed to it, or
      else the clock of the database, which is the same for all servers.
    - The end of a due sharing must be recorded once: ``deleted_at`` and ``updated_at`` become ``expires_at``, and an
      event of kind ``expired`` has that time and no cause.
    - A command with ``validate_only`` must make every check on one state, store nothing, and return what it would.
    - A store that is unreachable, locked or full must raise `Unavailable`; unreadable data must raise
      `StoredDataUnreadable`; no exception of a driver may leave a store.
    - A change must raise `OutcomeUnknown` if its commit failed but may be stored.

    With an `Idempotency` (``share``, ``cancel``, ``cancel_all``):

    - The first success must be stored with its key in one transaction; a failure must not be stored.
    - The same key and fingerprint must return the first result again, even if the sharing was cancelled since.
    - The same key with another fingerprint must raise `IdempotencyKeyReused`.
    - A second call during the first must wait for the first and return its result.
    - An expired key must count as never used.
    """

    @property
    def failed(self) -> asyncio.Event:
        """Must be set once only a new process can find out what is stored; then every call raises `Unavailable`.

        The process should end at once, without closing the store.
        """
        ...

    async def share(self, command: Share) -> Sequence[Sharing]:
        """Share a backup; return one sharing per recipient, in the order of the request.

        Checks in this order: must raise `BackupNotFound` for an unknown backup or one of another project; then the
        idempotency key; then ``unless_repeated``, and `InvalidArgument` if the new sharings would be due at once; must
        raise `BackupNotAvailable` unless the backup's status is available; must raise
        `AlreadyShared` with exactly the recipients that have an active sharing (with `OnConflict.RETURN`, must return
        their existing sharings instead); must raise `QuotaUsedUp` if new sharings would give the backup more than
        ``max_active`` active ones. An existing sharing must keep its end.
        A recipient whose sharing was cancelled or has ended must get a new one with a new id. The ends of the backup's
        due sharings must be recorded in the same transaction, before the new sharings.
        """
        ...

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """Cancel one active sharing; return it in its new state.

        Must set ``deleted_at`` and ``updated_at`` to ``cause.at``. An unknown, cancelled or due sharing, or one between
        other projects, must raise `SharingNotFound`; a call of the recipient must raise `NotTheGiver`. The cancelled
        row must stay as history.
        A stored result of the same request must take precedence over `SharingNotFound`; a key of another request is
        refused only after these checks.
        """
        ...

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """Cancel every active sharing of a backup; return the sharings in their new state, ordered by id.

        Must raise `BackupNotFound` for an unknown backup or one of another project, before the check of the idempotency
        key; must return nothing for a backup without active sharings. Must record the ends of due sharings, but not
        return them.
        """
        ...

    async def end_due(self, limit: int) -> Swept:
        """Record the ends of at most ``limit`` due sharings, the earliest ends first.

        Several servers may do so at once. Raises like a change; then some of the ends may be recorded.
        """
        ...

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Return an active sharing that ``project_id`` gave or received; must raise `SharingNotFound` otherwise."""
        ...

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """Return one page. Pages by position must neither skip nor repeat a sharing that is active throughout.

        A page of more than `PAGE_BYTES` must be cut short, but must keep at least one item; then more remain.
        """
        ...

    async def count_sharings(self, filter: SharingFilter) -> int:
        """Return the number of sharings on all pages of `list_sharings` with the same filter."""
        ...

    async def check_access(self, pairs: Sequence[tuple[str, str]]) -> CheckedAccess:
        """Return the access to each pair of a backup's id and a project's id, at most 1000 pairs.

        Must read one committed state, and must not regard a sharing as active once it is due.
        """
        ...

    async def put_backup(self, command: PutBackup) -> Backup:
        """Insert or replace a backup, and return it; its sharings must stay active whatever its new status.

        Must raise `BackupOwnerFixed` if a backup with this id belongs to another project.
        An identical backup must change nothing, and write no event.
        """
        ...

    async def get_backup(self, backup_id: str) -> Backup:
        """Return a backup of any project; must raise `BackupNotFound` if there is none."""
        ...

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """Return backups ordered by id, of one project or of all, after ``after_id``.

        A page of more than `PAGE_BYTES` must be cut short, but must keep at least one item; then more remain.
        """
        ...

    async def remove_backup(self, command: RemoveBackup) -> Sequence[Sharing]:
        """Remove a backup and cancel its active sharings in one transaction; return them, ordered by id.

        Must raise `BackupNotFound` for an unknown backup. Must record the ends of due sharings, but not return them.
        """
        ...

    async def ping(self) -> None:
        """Return if the store can be read and written now; must raise `Unavailable` otherwise, within a second."""
        ...

    async def close(self) -> None:
        """Finish running commits and release the data; later calls must raise `Unavailable`."""
        ...
