"""Which tables are copied from one database to another, and the rows in which they travel between engines.

A row has the values that SQLite keeps: text as text, truth as 0 or 1. So the same row of two engines is equal.
What is not copied is of no use elsewhere: `batches` tells a running server which of its transactions were committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backup_sharing.store.rows import BACKUP_FIELDS, EVENT_FIELDS, SHARING_FIELDS, Row

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the order in which its rows are read."""

    name: str
    columns: tuple[str, ...]
    """The columns of the primary key come first."""
    key_width: int = 1
    """How many columns the primary key has."""

    def key(self, row: Row) -> Key:
        """Answer the primary key of a row; keys compare as the engines order them, by code point."""
        return row[: self.key_width]

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return self.columns[: self.key_width]


BACKUPS: Final = Table("backups", (*BACKUP_FIELDS, "name_folded"))
SHARINGS: Final = Table("sharings", SHARING_FIELDS)
IDEMPOTENCY_KEYS: Final = Table(
    "idempotency_keys", ("project_id", "method", "key", "fingerprint", "answer", "expires_at"), key_width=3
)
SHARING_EVENTS: Final = Table("sharing_events", ("seq", *EVENT_FIELDS))

TABLES: Final = (SHARING_EVENTS, BACKUPS, SHARINGS, IDEMPOTENCY_KEYS)
"""In the order in which they are copied."""
