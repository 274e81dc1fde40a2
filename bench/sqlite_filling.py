"""SQLite's files with any number of sharings: made with the product's own migrations, and then filled in bulk."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from backup_sharing.store.sqlite.file import prepare
from backup_sharing.store.transfer.counters import RECOUNT
from bench.databases import BACKUPS, FIRST_AT, LISTED_BACKUPS, PACKED, SHARINGS_A_BACKUP, YEAR, fingerprint
from bench.job import LISTED, OWNER, backup_id
from bench.processes import BUILD
from bench.progress import tell

MB_A_MILLION = 800
SECONDS_A_MILLION = 45
"""Rounded up, for the estimate that is printed before a large one is built."""

_FILL_BACKUPS = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :all_backups)
    INSERT INTO backups (id, project_id, status, name, name_folded, volume_id, availability_zone, size, object_count,
        container, description, is_incremental, has_dependent_backups, created_at, data_timestamp, updated_at)
    SELECT backup_id(i),
        CASE WHEN i < :backups AND i % :listed_every = 0 THEN :listed
            WHEN i % 10 = 1 THEN :owner ELSE printf('%032x', i / 20) END,
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


def kept_file(rows: int) -> Path:
    """The file that is kept with this many sharings, made if it is not there yet."""
    kept = BUILD / f"rows-{rows}-{fingerprint(__file__)}.db"
    if not kept.exists():
        _make(kept, rows)
    return kept


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
    backups = rows // SHARINGS_A_BACKUP
    common: dict[str, str | int] = {"backups": backups, "first_at": FIRST_AT, "step": YEAR // rows}
    connection.execute("BEGIN")
    owners = {"listed": LISTED, "owner": OWNER, "listed_every": backups // LISTED_BACKUPS}
    owners["all_backups"] = max(backups, BACKUPS)
    connection.execute(_FILL_BACKUPS, {**common, **owners})
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    packed = int(rows * PACKED)
    connection.execute(_FILL_SHARINGS, {**common, "from": 0, "to": packed})
    for _, sql in indexes:
        connection.execute(sql)
    tell(f"{packed:,} of {rows:,} sharings are in")
    connection.execute(_FILL_SHARINGS, {**common, "from": packed, "to": rows})
    connection.execute(RECOUNT)
    connection.execute(_FILL_EVENTS)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
