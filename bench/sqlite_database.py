"""Databases of SQLite, as measurements use them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backup_sharing.store.transfer.counters import RECOUNT
from bench.databases import COPIED_UP_TO, LAST_AT, keep_in_memory
from bench.job import LISTED, OWNER
from bench.processes import BUILD
from bench.sqlite_filling import kept_file

_STORED = (
    "SELECT count(*) FROM acknowledged.ids CROSS JOIN main.sharings AS s ON s.id = ids.id AND s.deleted_at IS NULL"
)


@contextmanager
def sqlite_database(rows: int) -> Iterator[SqliteDatabase]:
    """A database with this many sharings: a copy of its own, or a large one itself."""
    kept = kept_file(rows)
    if rows > COPIED_UP_TO:
        database = SqliteDatabase(kept, rows)
        database.take_away_added()
        keep_in_memory(kept)
        yield database
        return
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="sqlite-") as folder:
        yield SqliteDatabase(Path(shutil.copy(kept, folder)), rows)


class SqliteDatabase:
    """A `bench.databases.Database` in a file."""

    engine = "SQLite"
    pid = None

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self.name = str(path)
        self.rows = rows

    def take_away_added(self) -> None:
        """Do what `Database.take_away_added` promises."""
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=30)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            added = connection.execute(
                "DELETE FROM sharings WHERE from_project_id = ? AND created_at > ?", (OWNER, LAST_AT)
            )
            if added.rowcount:
                connection.execute("DELETE FROM sharing_events WHERE seq > ?", (self.rows,))
                connection.execute(RECOUNT)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def missing(self, acknowledged: Path) -> tuple[int, int]:
        """Do what `Database.missing` promises."""
        with closing(self._read_only()) as connection:
            connection.execute("ATTACH ':memory:' AS acknowledged")
            connection.execute("CREATE TABLE acknowledged.ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
            with acknowledged.open(encoding="ascii") as file:
                connection.executemany("INSERT INTO acknowledged.ids VALUES (?)", ((line.strip(),) for line in file))
            (total,) = connection.execute("SELECT count(*) FROM acknowledged.ids").fetchone()
            (stored,) = connection.execute(_STORED).fetchone()
            return total, total - stored

    def listed_ids(self, count: int) -> list[str]:
        """Do what `Database.listed_ids` promises."""
        with closing(self._read_only()) as connection:
            rows = connection.execute("SELECT id FROM sharings WHERE from_project_id = ? LIMIT ?", (LISTED, count))
            return [row[0] for row in rows]

    def _read_only(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
