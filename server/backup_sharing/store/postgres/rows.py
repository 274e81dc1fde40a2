"""Rows and parameters of PostgreSQL on one side; backups and sharings on the other.

PostgreSQL's text cannot hold U+0000, which a backup's name may. It is kept as two characters, and so is the
first of these two; that changes neither the order of texts nor whether two are equal, and is undone by reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from backup_sharing.model import Backup, SharingDetail
from backup_sharing.store.rows import BACKUP_FIELDS, SHARING_FIELDS, Row, backup_of, detail_of

_ESCAPED: Final = (("\x01", "\x01\x03"), ("\x00", "\x01\x02"))
"""In the order in which they are replaced: what is behind U+0001 in the end tells which it was."""

BACKUP_PARAMETERS: Final = (*BACKUP_FIELDS, "name_folded")


def text_in(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Answer a value as it is stored."""
    if isinstance(value, str) and ("\x00" in value or "\x01" in value):
        for plain, escaped in _ESCAPED:
            value = value.replace(plain, escaped)
    return value


def text_out(value: Any) -> Any:  # noqa: ANN401 - any value of a column
    """Answer a stored value as it was."""
    if isinstance(value, str) and "\x01" in value:
        for plain, escaped in reversed(_ESCAPED):
            value = value.replace(escaped, plain)
    return value


def stored_backup(row: Row) -> Backup:
    """Answer the backup of a row of `backup_sharing.store.rows.BACKUP_COLUMNS`."""
    return backup_of(_out(row))


def stored_detail(row: Row) -> SharingDetail:
    """Answer the sharing and the backup of a row of both their columns."""
    return detail_of((*row[: len(SHARING_FIELDS)], *_out(row[len(SHARING_FIELDS) :])))


def backup_row(backup: Backup) -> Sequence[object]:
    """Answer the values of `BACKUP_PARAMETERS`."""
    folded = None if backup.name is None else backup.name.casefold().encode()
    return (*(text_in(getattr(backup, name)) for name in BACKUP_FIELDS), folded)


def columns_of(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Answer the columns of rows, each to be one array."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _out(row: Row) -> Row:
    return tuple(map(text_out, row))
