"""Errors of a database that cannot be used at all, as opposed to a busy one."""

from __future__ import annotations

from sqlite3 import Connection


class UnusableDatabase(Exception):
    """The database cannot serve this program; the message contains its name and the reason."""

    def __init__(self, where: object, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


class FailingDatabase(UnusableDatabase):
    """The disk of the database fails or is full; this may be temporary."""

    def __init__(self, where: object, why: str, kept: Connection | None = None) -> None:
        super().__init__(where, why)
        self.kept = kept
        """A connection to close only after another one is open: the close of the last connection makes SQLite copy the
        log."""


class UnreachableDatabase(UnusableDatabase):
    """The server of the database cannot be reached now."""
