"""Databases with any number of sharings, the same in every engine: what is in them, and what is asked of each.

``rows`` sharings of ``rows / 10`` backups over a year, and at least `BACKUPS` backups. One backup in ten is `OWNER`'s;
`LISTED` has 50 backups and 500 sharings whatever the size, spread over the whole year; the rest belongs to one project
for each 20 backups.
Each is made once, and kept.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from bench.calls import LISTED_SHARINGS

COPIED_UP_TO = 100_000
"""Rows up to which a measurement has a copy of its own; it brings a larger one back to what it was."""

SHARINGS_A_BACKUP = 10
BACKUPS = 50_000
"""Backups at least: enough that no load brings one of them to the limit of active sharings."""
LISTED_BACKUPS = LISTED_SHARINGS // SHARINGS_A_BACKUP

PACKED = 0.6
"""Part of the sharings that is there before the indexes are made. An index that is made at once has full pages, and
every insert would split one; those that come one by one afterwards leave the pages as a grown index has them."""

FIRST_AT = 1_760_000_000_000_000
YEAR = 365 * 86400 * 1_000_000
LAST_AT = FIRST_AT + YEAR
"""Microseconds since 1970. What is newer was added by measurements."""


class Database(Protocol):
    """One database that measurements add sharings to."""

    @property
    def engine(self) -> str:
        """As the tables have it."""
        ...

    @property
    def name(self) -> str:
        """What a server is given as ``--database``."""
        ...

    @property
    def pid(self) -> int | None:
        """The process that works on it and has all others as children; None where servers do so by themselves."""
        ...

    @property
    def rows(self) -> int:
        """The sharings that it was made with."""
        ...

    def take_away_added(self) -> None:
        """Bring it back to the sharings that it was made with."""

    def missing(self, acknowledged: Path) -> tuple[int, int]:
        """How many sharings were acknowledged, and how many of those are not stored, or not as active.

        ``acknowledged``: a file with an id a line.
        """
        ...

    def listed_ids(self, count: int) -> list[str]:
        """Ids of sharings of the listed project."""
        ...


def backups_of_owner(rows: int) -> int:
    """How many backups the owner can share in a database with this many sharings."""
    return max(rows // SHARINGS_A_BACKUP, BACKUPS) // 10


def fingerprint(*makers: str) -> str:
    """Of everything that decides what is in a database, which is here and in the files that make it."""
    here = Path(__file__)
    schema = here.parents[1] / "server" / "backup_sharing" / "store" / "migrations.py"
    files = (here, schema, *map(Path, makers))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def keep_in_memory(file: Path) -> None:
    """Have the system keep as much of a file in memory as it can, as it would of one in use."""
    with file.open("rb", buffering=0) as opened:
        while opened.read(1 << 24):
            pass
