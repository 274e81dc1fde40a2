"""What a database has to offer, so that `backup_sharing.store.batched.BatchedStore` makes a store of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from backup_sharing.model import Backup, Page, SharingDetail
from backup_sharing.store.change import Change
from backup_sharing.store.interface import SharingFilter, SharingQuery
from backup_sharing.store.listing import Parameters
from backup_sharing.store.rows import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A read: one statement, so that it sees one state of the data."""

    statement: str
    parameters: Parameters
    answer: Callable[[Iterable[Row]], T]
    """Makes the answer of the rows, of which it takes no more than it needs, or raises a `Failure`."""


class Reads(Protocol):
    """Each read of `backup_sharing.store.interface.Store`, as an engine says it."""

    def get_sharing(self, project_id: str, sharing_id: str) -> Query[SharingDetail]:
        """`Store.get_sharing`."""
        ...

    def list_sharings(self, query: SharingQuery) -> Query[Page[SharingDetail]]:
        """`Store.list_sharings`."""
        ...

    def count_sharings(self, filter: SharingFilter) -> Query[int]:
        """`Store.count_sharings`."""
        ...

    def get_backup(self, backup_id: str) -> Query[Backup]:
        """`Store.get_backup`."""
        ...

    def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Query[Page[Backup]]:
        """`Store.list_backups`."""
        ...


class Engine(Protocol):
    """One database, used by one store on one event loop. No driver's exception may leave it."""

    @property
    def reads(self) -> Reads:
        """Makes the queries that `query` takes."""
        ...

    @property
    def lanes(self) -> int:
        """How many batches may be committed at the same time."""
        ...

    @property
    def patience(self) -> float:
        """Seconds that a change may wait for its commit to begin."""
        ...

    @property
    def failed(self) -> asyncio.Event:
        """As `Store.failed`."""
        ...

    async def look(self) -> Sequence[str]:
        """Open the database, if that has not been done, and answer the migrations that it lacks.

        Called again while it lacks some or raises. No other call comes before it lacks nothing. Must raise
        `FailingDatabase` or `UnreachableDatabase` where it may be better later, another `UnusableDatabase` otherwise.
        """
        ...

    async def commit(self, batch: Sequence[Change]) -> Sequence[Change]:
        """Make changes, in their order, in as few transactions as that takes, and settle each of them.

        Must leave out a change that is given up, and begin no commit for changes that cannot be claimed. One failing
        change must not touch the others. Answers the changes that others keep from being made for now, not settled:
        they come again. Raises a `Failure` for all changes that are not settled.
        """
        ...

    async def query(self, query: Query[T]) -> T:
        """Answer a query from data that holds everything committed before this call."""
        ...

    async def ping(self) -> None:
        """As `Store.ping`."""
        ...

    def stop(self) -> None:
        """Begin no more queries; commits that have begun go on, and so do batches that wait for others."""
        ...

    async def close(self) -> None:
        """Let go of the data, and break off what is still under way. May be called again."""
        ...
