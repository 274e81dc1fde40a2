"""Conversion between rows and parameters of PostgreSQL, and backups and sharings.

PostgreSQL's text cannot hold U+0000, which a backup's name may contain. U+0000 is stored as two characters, and so is
U+0001, the first of these two. This changes neither the order nor the equality of texts, and reading reverses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from backup_sharing.model import Backup, SharingDetail
from backup_sharing.store.rows import BACKUP_FIELDS, SHARING_FIELDS, Row, backup_of, detail_of

_ESCAPED: Final = (("\x01", "\x01\x03"), ("\x00", "\x01\x02"))
"""Replacements in their order; the character after U+0001 shows which of the two was replaced."""

BACKUP_PARAMETERS: Final = (*BACKUP_FIELDS, "name_folded")


def store_time(given: str) -> str:
    """Return the expression for the time at which sharings end: the parameter ``given``, or if that is NULL, the time
    of the database. The expression is stable, so an index can be searched with it.
    """
    return f"coalesce({given}::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)"


def text_in(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return a value in its stored form."""
    if isinstance(value, str) and ("\x00" in value or "\x01" in value):
        for plain, escaped in _ESCAPED:
            value = value.replace(plain, escaped)
    return value


def text_out(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Return a stored value in its original form."""
    if isinstance(value, str) and "\x01" in value:
        for plain, escaped in reversed(_ESCAPED):
            value = value.replace(escaped, plain)
    return value


def stored_backup(row: Row) -> Backup:
    """Return the backup of a row of `backup_sharing.store.rows.BACKUP_COLUMNS`."""
    return backup_of(_out(row))


def stored_detail(row: Row) -> SharingDetail:
    """Return the sharing and the backup of a row of both their columns."""
    return detail_of((*row[: len(SHARING_FIELDS)], *_out(row[len(SHARING_FIELDS) :])))


def backup_row(backup: Backup) -> Sequence[object]:
    """Return the values of `BACKUP_PARAMETERS`."""
    folded = None if backup.name is None else backup.name.casefold().encode()
    return (*(text_in(getattr(backup, name)) for name in BACKUP_FIELDS), folded)


def columns_of(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Return the columns of rows, each as one array."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _out(row: Row) -> Row:
    return tuple(map(text_out, row))
