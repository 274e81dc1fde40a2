"""Why a database cannot be used at all, as opposed to not now."""

from __future__ import annotations


class UnusableDatabase(Exception):
    """What is there cannot serve as this program's database; the message names it and says why."""

    def __init__(self, where: object, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where


class UnreachableDatabase(UnusableDatabase):
    """Nobody answers where the database should be, now."""
