"""Two tables side by side: where they differ, and a digest of each. As much in memory as one page of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from backup_sharing.store.rows import Row
from backup_sharing.store.transfer.side import Side
from backup_sharing.store.transfer.tables import Key, Table

PAGE: Final = 1_000
"""Rows that are read or written at once: more make it no faster, and the longest, stored answers, are of many KiB."""


class Difference(NamedTuple):
    """The rows of one key, which differ; None where there is none."""

    source: Row | None
    target: Row | None


class Digest:
    """Adds up rows: equal exactly for the same rows in the same order, whatever engine they are of."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        self.rows += len(rows)
        # Python writes different values differently, and the values of a row are of four types only.
        self._hash.update("".join([f"{row!a}\n" for row in rows]).encode("ascii"))

    @property
    def text(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()


def read(side: Side, table: Table, seen: Callable[[Sequence[Row]], object]) -> Iterator[Row]:
    """Answer all rows in key order; each page is shown to ``seen`` first.

    Rows may be added meanwhile up to the key that was answered last: they are not met.
    """
    after: Key | None = None
    while True:
        page = side.page(table, after, PAGE)
        seen(page)
        yield from page
        if len(page) < PAGE:
            return
        after = table.key(page[-1])


def differences(table: Table, source: Iterator[Row], target: Iterator[Row]) -> Iterator[Difference]:
    """Answer where rows in key order differ, in key order."""
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
