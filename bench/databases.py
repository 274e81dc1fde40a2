"""Databases with any number of sharings, made with the product's own migrations and then filled in bulk.

``rows`` sharings of ``rows / 10`` backups over a year. One backup in ten is `OWNER`'s; `LISTED` has 50 backups and
500 sharings whatever the size, spread over the whole year; the rest belongs to one project for each 20 backups.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.calls import LISTED_SHARINGS
from bench.job import LISTED, OWNER, backup_id
from bench.processes import BUILD
from bench.progress import tell
from server.store.sqlite_file import prepare

MB_A_MILLION = 800
SECONDS_A_MILLION = 45
"""Rounded up, for what is told before a large one is built."""

_COPIED_UP_TO = 100_000
_SHARINGS_A_BACKUP = 10
_LISTED_BACKUPS = LISTED_SHARINGS // _SHARINGS_A_BACKUP
_PACKED = 0.6
"""Part of the sharings that is there before the indexes are made. An index that is made at once has full pages, and
every insert would split one; those that come one by one afterwards leave the pages as a grown index has them."""

_FIRST_AT = 1_760_000_000_000_000
_YEAR = 365 * 86400 * 1_000_000

_FILL_BACKUPS = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :backups)
    INSERT INTO backups (id, project_id, status, name, name_folded, volume_id, availability_zone, size, object_count,
        container, description, is_incremental, has_dependent_backups, created_at, data_timestamp, updated_at)
    SELECT backup_id(i),
        CASE WHEN i % :listed_every = 0 THEN :listed WHEN i % 10 = 1 THEN :owner ELSE printf('%032x', i / 20) END,
        'available', 'backup-' || i, 'backup-' || i, backup_id(-i - 1), 'eu-de-0' || (1 + i % 3), 1 + i % 500,
        i % 100, 'backups', 'made by the bench', i % 2, 0, :first_at, :first_at, :first_at
    FROM n ORDER BY i
"""
# The id is a UUID of version 7: milliseconds, then what makes it unique.
_FILL_SHARINGS = """
    WITH RECURSIVE n(i) AS (SELECT :from UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :to)
    INSERT INTO sharings (id, backup_id, from_project_id, to_project_id, created_at)
    SELECT printf('%08x-%04x-7%03x-8%03x-%012x', ms >> 16, ms & 0xffff, i >> 20 & 0xfff, i >> 8 & 0xfff, i),
        b.id, b.project_id, lower(hex(randomblob(16))), at
    FROM (SELECT i, at, at / 1000 AS ms FROM (SELECT i, :first_at + i * :step AS at FROM n)) AS made
    CROSS JOIN backups AS b ON b.rowid = 1 + made.i % :backups
    ORDER BY made.i
"""
_FILL_EVENTS = """
    INSERT INTO sharing_events (at, kind, sharing_id, backup_id, from_project_id, to_project_id,
        by_project_id, by_user_id, request_id)
    SELECT created_at, 'shared', id, backup_id, from_project_id, to_project_id, from_project_id, 'bench',
        'req-' || id
    FROM sharings ORDER BY id
"""
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'sharings' AND sql IS NOT NULL"


def database(rows: int, folder: Path) -> Path:
    """A database with this many sharings: a copy of its own in ``folder``, or a large one itself.

    What is added to a large one must be taken away again with `take_away_added`.
    """
    kept = BUILD / f"rows-{rows}-{_fingerprint()}.db"
    if not kept.exists():
        _make(kept, rows)
    if rows > _COPIED_UP_TO:
        take_away_added(kept, rows)
        _warm(kept)
        return kept
    return Path(shutil.copy(kept, folder / f"{rows}.db"))


def backups_of_owner(rows: int) -> int:
    """How many backups the owner can share in a database with this many sharings."""
    return rows // _SHARINGS_A_BACKUP // 10


def take_away_added(path: Path, rows: int) -> None:
    """Bring a database back to the sharings that it was built with."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        last = _FIRST_AT + _YEAR
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        added = connection.execute("DELETE FROM sharings WHERE from_project_id = ? AND created_at > ?", (OWNER, last))
        if added.rowcount:
            connection.execute("DELETE FROM sharing_events WHERE seq > ?", (rows,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _warm(path: Path) -> None:
    """Have the system keep as much of the file in memory as it can, as it would of one in use."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def missing(path: Path, acknowledged: Path) -> tuple[int, int]:
    """How many sharings were acknowledged, and how many of those are not stored, or not as active."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("ATTACH ':memory:' AS told")
        connection.execute("CREATE TABLE told.ids (id TEXT PRIMARY KEY) WITHOUT ROWID")
        with acknowledged.open(encoding="ascii") as file:
            connection.executemany("INSERT INTO told.ids VALUES (?)", ((line.strip(),) for line in file))
        (total,) = connection.execute("SELECT count(*) FROM told.ids").fetchone()
        stored = "SELECT count(*) FROM told.ids CROSS JOIN main.sharings AS s ON s.id = ids.id AND s.deleted_at IS NULL"
        return total, total - connection.execute(stored).fetchone()[0]


def listed_ids(path: Path, count: int) -> list[str]:
    """Ids of sharings of the listed project."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT id FROM sharings WHERE from_project_id = ? LIMIT ?", (LISTED, count))
        return [row[0] for row in rows]


def _fingerprint() -> str:
    """Of everything that decides what is in a database."""
    here = Path(__file__)
    schema = here.parents[1] / "server" / "store" / "migrations.py"
    return hashlib.sha256(here.read_bytes() + schema.read_bytes()).hexdigest()[:12]


def _make(path: Path, rows: int) -> None:
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in BUILD.glob(f"rows-{rows}-*"):
        old.unlink()
    unfinished = path.with_suffix(".unfinished")
    for rest in BUILD.glob(f"{unfinished.name}*"):
        rest.unlink()
    prepare(unfinished, busy_timeout=5)
    os.environ["SQLITE_TMPDIR"] = str(BUILD)  # sorting 10⁷ rows takes more than some /tmp has
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        _fill(connection, rows)
    unfinished.rename(path)
    tell(f"made a database of {rows:,} sharings: {path.stat().st_size / 1e6:,.0f} MB, {time.monotonic() - began:.0f} s")


def _fill(connection: sqlite3.Connection, rows: int) -> None:
    connection.create_function("backup_id", 1, backup_id, deterministic=True)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    backups = rows // _SHARINGS_A_BACKUP
    common: dict[str, str | int] = {"backups": backups, "first_at": _FIRST_AT, "step": _YEAR // rows}
    connection.execute("BEGIN")
    owners = {"listed": LISTED, "owner": OWNER, "listed_every": backups // _LISTED_BACKUPS}
    connection.execute(_FILL_BACKUPS, {**common, **owners})
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    packed = int(rows * _PACKED)
    connection.execute(_FILL_SHARINGS, {**common, "from": 0, "to": packed})
    for _, sql in indexes:
        connection.execute(sql)
    tell(f"{packed:,} of {rows:,} sharings are in")
    connection.execute(_FILL_SHARINGS, {**common, "from": packed, "to": rows})
    connection.execute(_FILL_EVENTS)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
