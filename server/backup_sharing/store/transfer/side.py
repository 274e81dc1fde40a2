"""What a database must be able to do to be one of the two sides of a copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.tables import Key, Table


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one table, made in one transaction."""

    add: Sequence[Row] = ()
    """Rows whose keys are not there, in key order."""
    replace: Sequence[Row] = ()
    """Rows whose keys are there."""
    remove: Sequence[Key] = ()


class Side(Protocol):
    """A database whose tables are up to date. Every method raises UnusableDatabase when the database fails."""

    @property
    def shown(self) -> str:
        """The database's name without what is secret."""
        ...

    def identity(self) -> object:
        """Answer something that is equal for two sides on the same database, whatever their names are."""
        ...

    def hold(self) -> None:
        """See one state of the data from now on, until `release`."""
        ...

    def release(self) -> None:
        """See what is there now."""
        ...

    def count(self, table: Table) -> int:
        """Count the rows."""
        ...

    def page(self, table: Table, after: Key | None, limit: int) -> Sequence[Row]:
        """Answer up to ``limit`` rows behind a key, in key order."""
        ...

    def removed(self, backup_ids: Collection[str]) -> set[str]:
        """Answer which of these backups were removed here at some time."""
        ...

    def write(self, table: Table, batch: Batch) -> None:
        """Make the changes, all or nothing; a number that is given to a later event is above those of the rows."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
