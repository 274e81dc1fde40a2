"""Why a database cannot be used at all, as opposed to not now."""

from __future__ import annotations

from sqlite3 import Connection


class UnusableDatabase(Exception):
    """What is there cannot serve as this program's database; the message names it and says why."""

    def __init__(self, where: object, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


class FailingDatabase(UnusableDatabase):
    """The disk of the database fails, or is full: that need not be so for ever."""

    def __init__(self, where: object, why: str, kept: Connection | None = None) -> None:
        super().__init__(where, why)
        self.kept = kept
        """A connection that is closed only once another is open: when its last one is closed, SQLite copies the log."""


class UnreachableDatabase(UnusableDatabase):
    """Nobody answers where the database should be, now."""
