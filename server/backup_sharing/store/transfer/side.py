"""Interface of a database as one side of a copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from backup_sharing.store.interface import LogBounds
from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.tables import Key, Table


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one table, to make in one transaction."""

    add: Sequence[Row] = ()
    """Rows with new keys, in key order."""
    replace: Sequence[Row] = ()
    """Rows with existing keys."""
    remove: Sequence[Key] = ()


class Side(Protocol):
    """A database with up-to-date tables. Every method raises UnusableDatabase when the database fails."""

    @property
    def shown(self) -> str:
        """Name of the database without secrets."""
        ...

    def identity(self) -> object:
        """Return a value that is equal for two sides on the same database, whatever their names are."""
        ...

    def place_events(self) -> None:
        """Give every event its position, if one has none."""
        ...

    def log(self) -> LogBounds:
        """Return the bounds of the events."""
        ...

    def continue_log(self, log: LogBounds) -> None:
        """Take over the id of a store, and its newest position unless a larger one is recorded."""
        ...

    def hold(self) -> None:
        """Read one state of the data from now on, until `release`."""
        ...

    def release(self) -> None:
        """Read the current data from now on."""
        ...

    def count(self, table: Table) -> int:
        """Return the number of rows."""
        ...

    def page(self, table: Table, after: Key | None, limit: int, *, derived: bool) -> Sequence[Row]:
        """Return up to ``limit`` rows after a key, in key order.

        ``derived``: compute the columns that follow from other rows, instead of reading them.
        """
        ...

    def removed(self, backup_ids: Collection[str]) -> set[str]:
        """Return which of these backups were ever removed from this database."""
        ...

    def write(self, table: Table, batch: Batch) -> None:
        """Make all changes or none; later events must get positions above those of the rows."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...
