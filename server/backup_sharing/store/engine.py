"""Interface of a database on which `backup_sharing.store.batched.BatchedStore` builds a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from backup_sharing.model import Backup, Micros, Page, SharingDetail
from backup_sharing.store.change import Change
from backup_sharing.store.interface import (
    CheckedAccess,
    EventFilter,
    LogBounds,
    OldEvent,
    OldSharing,
    SharingFilter,
    SharingQuery,
    StoredEvent,
)
from backup_sharing.store.listing import Counted, Parameters, Part
from backup_sharing.store.observing.observer import EngineReadings
from backup_sharing.store.rows import Row

T = TypeVar("T")


def system_clock() -> Micros:
    """Return the current time of the system clock."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A read of one statement, which therefore sees one state of the data.

    The statement may use the parameter ``now`` of `backup_sharing.store.listing.Dialect.now`: the engine sets it.
    """

    statement: str
    parameters: Parameters
    answer: Callable[[Iterable[Row]], T]
    """Converts the rows to the result, reading no more rows than necessary, or raises a `Failure`."""
    in_order: bool = False
    """Whether the result must contain every event committed before the query, each with its position."""


class Ending(NamedTuple):
    """A sharing that ends by itself, and whose end is not recorded."""

    backup_id: str
    sharing_id: str
    left: Micros
    """Microseconds until its end at the store's clock; 0 or less: the sharing is due."""


class Reads(Protocol):
    """The queries of an engine for the reads of `backup_sharing.store.interface.Store`."""

    def get_sharing(self, project_id: str, sharing_id: str) -> Query[SharingDetail]:
        """Return the query of `Store.get_sharing`."""
        ...

    def list_sharings(self, query: SharingQuery) -> Query[Page[SharingDetail]]:
        """Return the query of `Store.list_sharings`."""
        ...

    def count_sharings(self, filter: SharingFilter) -> Query[int]:
        """Return the query of `Store.count_sharings`."""
        ...

    def ending(self, limit: int) -> Query[Sequence[Ending]]:
        """Return the query for the ``limit`` sharings that end first, in the order of their ends, then by id."""
        ...

    def get_backup(self, backup_id: str) -> Query[Backup]:
        """Return the query of `Store.get_backup`."""
        ...

    def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Query[Page[Backup]]:
        """Return the query of `Store.list_backups`."""
        ...

    def count_part(self, counted: Counted, after: str, limit: int) -> Query[Part]:
        """Return the query that counts the next ``limit`` rows after a key; an empty key: from the first row on."""
        ...

    def check_access(self, pairs: Sequence[tuple[str, str]]) -> Query[CheckedAccess]:
        """Return the query of `Store.check_access`."""
        ...

    def log_bounds(self) -> Query[LogBounds]:
        """Return the query of `EventLog.log_bounds`."""
        ...

    def events_after(self, position: int, limit: int) -> Query[Sequence[StoredEvent]]:
        """Return the query of `EventLog.events_after`."""
        ...

    def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Query[Page[StoredEvent]]:
        """Return the query of `EventLog.list_events`."""
        ...

    def time(self) -> Query[Micros]:
        """Return the query of `Retention.time`."""
        ...

    def old_events(self, before: Micros, limit: int, after: int) -> Query[Sequence[OldEvent]]:
        """Return the query of `Retention.old_events`."""
        ...

    def old_sharings(self, before: Micros, limit: int, after: OldSharing | None) -> Query[Sequence[OldSharing]]:
        """Return the query of `Retention.old_sharings`."""
        ...


class Engine(Protocol):
    """One database, used by one store on one event loop. No exception of a driver may leave it."""

    @property
    def reads(self) -> Reads:
        """Builds the queries for `query`."""
        ...

    @property
    def name(self) -> str:
        """Name of the engine, ``sqlite`` or ``postgresql``."""
        ...

    @property
    def version(self) -> str:
        """Version of the library or of the database server; empty before it is known."""
        ...

    @property
    def writers(self) -> int:
        """Maximum number of concurrent commits of batches."""
        ...

    @property
    def patience(self) -> float:
        """Seconds that a change may wait for its commit to begin."""
        ...

    @property
    def failed(self) -> asyncio.Event:
        """See `Store.failed`."""
        ...

    async def look(self) -> Sequence[str]:
        """Open the database if it is not open, and return its pending migrations.

        The store repeats the call while migrations are pending or the call raises, and calls no other method before.
        Must raise `FailingDatabase` or `UnreachableDatabase` if a retry may succeed, another `UnusableDatabase`
        otherwise.
        """
        ...

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make changes in their order, in as few transactions as possible, and settle each of them.

        Must leave out a change that is given up, and begin no commit for changes that cannot be claimed. One failing
        change must not affect the others. Returns the changes blocked by locks of others, not settled: the store
        retries them. Raises a `Failure` for all changes that are not settled.
        """
        ...

    async def query(self, query: Query[T]) -> T:
        """Return the result of a query on data that includes everything committed before this call."""
        ...

    async def ping(self) -> None:
        """See `Store.ping`."""
        ...

    def readings(self) -> EngineReadings:
        """Return the state of the engine, at once: nothing is read from the database."""
        ...

    def stop(self) -> None:
        """Begin no more queries; running commits and batches that wait for locks continue."""
        ...

    async def close(self) -> None:
        """Release the data, and abort all running work. May be called again."""
        ...
