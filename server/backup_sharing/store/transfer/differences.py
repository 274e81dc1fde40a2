"""Differences of two tables, and a digest of each; one page of each table is in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.side import Side
from backup_sharing.store.transfer.tables import Key, Table

PAGE: Final = 1_000
"""Rows read or written at once: more are not faster, and the longest rows, stored answers, have many KiB."""


class Difference(NamedTuple):
    """The differing rows of one key; None if a side has no row."""

    source: Row | None
    target: Row | None


class Digest:
    """Digest of rows; equal exactly for the same rows in the same order, whatever their engine."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, rows: Sequence[Row]) -> None:
        """Add the next rows."""
        self.rows += len(rows)
        # The repr of different values differs, as the values of a row have only four types.
        self._hash.update("".join([f"{row!a}\n" for row in rows]).encode("ascii"))

    @property
    def text(self) -> str:
        """The digest as 32 hexadecimal digits."""
        return self._hash.hexdigest()


def read(side: Side, table: Table, seen: Callable[[Sequence[Row]], object], *, derived: bool) -> Iterator[Row]:
    """Yield all rows in key order; call ``seen`` with each page before its rows.

    ``derived``: see `Side.page`. Rows that are added meanwhile, up to the last key, are not read.
    """
    after: Key | None = None
    while True:
        page = side.page(table, after, PAGE, derived=derived)
        seen(page)
        yield from page
        if len(page) < PAGE:
            return
        after = table.key(page[-1])


def differences(table: Table, source: Iterator[Row], target: Iterator[Row]) -> Iterator[Difference]:
    """Yield the differences between two iterators of rows in key order, in key order."""
    ours, theirs = next(source, None), next(target, None)
    while ours is not None or theirs is not None:
        if ours == theirs:
            ours, theirs = next(source, None), next(target, None)
        elif theirs is None or (ours is not None and table.key(ours) < table.key(theirs)):
            yield Difference(ours, None)
            ours = next(source, None)
        elif ours is None or table.key(theirs) < table.key(ours):
            yield Difference(None, theirs)
            theirs = next(target, None)
        else:
            yield Difference(ours, theirs)
            ours, theirs = next(source, None), next(target, None)
