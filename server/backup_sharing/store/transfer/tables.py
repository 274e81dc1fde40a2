"""The tables that are copied from one database to another, and the form of rows between engines.

A row has the values that SQLite stores: text as text, booleans as 0 or 1. So the same row of two engines is equal. The
table `batches` is not copied, as it is of no use elsewhere: a running server looks up there which of its transactions
were committed. The id of the store and its newest position, in tables of other forms, are copied at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backup_sharing.store.rows import BACKUP_FIELDS, EVENT_FIELDS, SHARING_FIELDS, Row
from backup_sharing.store.transfer.counters import COUNTED

Key = tuple[str | int, ...]

_DERIVED: Final = {"active_sharings": COUNTED}
"""Expressions for the columns that follow from other rows."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and the order of its rows."""

    name: str
    columns: tuple[str, ...]
    """Names of the columns; the columns of the primary key come first."""
    key_width: int = 1
    """Number of columns of the primary key; 1 by default."""

    def key(self, row: Row) -> Key:
        """Return the primary key of a row; keys compare in the order of the engines, by code point."""
        return row[: self.key_width]

    def selected(self, columns: Sequence[str], *, derived: bool) -> str:
        """Return ``columns`` as a statement selects them: as stored, or ``derived`` from other rows where possible."""
        return ", ".join(_DERIVED.get(name, name) if derived else name for name in columns)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the columns of the primary key."""
        return self.columns[: self.key_width]


BACKUPS: Final = Table("backups", (*BACKUP_FIELDS, "name_folded", "active_sharings"))
SHARINGS: Final = Table("sharings", SHARING_FIELDS)
IDEMPOTENCY_KEYS: Final = Table(
    "idempotency_keys", ("project_id", "method", "key", "fingerprint", "answer", "expires_at"), key_width=3
)
SHARING_EVENTS: Final = Table("sharing_events", ("position", *EVENT_FIELDS))
"""Events by position, which is the column ``seq`` of SQLite; PostgreSQL's ``seq`` means nothing elsewhere."""

TABLES: Final = (SHARING_EVENTS, BACKUPS, SHARINGS, IDEMPOTENCY_KEYS)
"""Tables in the order of copying."""
