"""The tables of the SQLite store, as numbered migrations that sqlite-utils applies and remembers.

A migration that was released is never changed: what comes later is a new one, with the next number.
Times are microseconds since 1970-01-01 UTC, identifiers are in canonical form, a boolean is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

MIGRATION_SET: Final = "backup-sharing"
"""The name under which a database remembers what was applied to it."""

_INITIAL: Final = "0001_backups_and_sharings"

_BACKUPS: Final = (
    """
    CREATE TABLE backups (
        id TEXT NOT NULL PRIMARY KEY,
        project_id TEXT NOT NULL,
        status TEXT NOT NULL,
        name TEXT,
        volume_id TEXT,
        availability_zone TEXT,
        size INTEGER,
        object_count INTEGER,
        container TEXT,
        description TEXT,
        fail_reason TEXT,
        snapshot_id TEXT,
        service_metadata TEXT,
        is_incremental INTEGER,
        has_dependent_backups INTEGER,
        created_at INTEGER,
        data_timestamp INTEGER,
        updated_at INTEGER,
        name_folded TEXT -- casefold of name: SQLite folds ASCII only
    ) STRICT
    """,
    "CREATE INDEX backups_of_project ON backups (project_id, id)",
)

# No foreign key to backups: the history of a removed backup stays.
_SHARINGS: Final = (
    """
    CREATE TABLE sharings (
        id TEXT NOT NULL PRIMARY KEY,
        backup_id TEXT NOT NULL,
        from_project_id TEXT NOT NULL,
        to_project_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER,
        deleted_at INTEGER -- NULL while the sharing is active
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX sharings_active ON sharings (backup_id, to_project_id) WHERE deleted_at IS NULL",
    "CREATE INDEX sharings_given ON sharings (from_project_id, created_at, id, deleted_at) WHERE deleted_at IS NULL",
    "CREATE INDEX sharings_received ON sharings (to_project_id, created_at, id, deleted_at) WHERE deleted_at IS NULL",
)

_IDEMPOTENCY_KEYS: Final = (
    """
    CREATE TABLE idempotency_keys (
        project_id TEXT NOT NULL,
        method TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        answer TEXT NOT NULL, -- JSON: a list of sharings as they were answered
        expires_at INTEGER NOT NULL,
        UNIQUE (project_id, method, key)
    ) STRICT
    """,
    "CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at)",
)

# AUTOINCREMENT: a number is never given twice, so a reader can say where it stopped.
_SHARING_EVENTS: Final = (
    """
    CREATE TABLE sharing_events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL, -- backup_put, backup_removed, shared, cancelled
        sharing_id TEXT,
        backup_id TEXT NOT NULL,
        from_project_id TEXT NOT NULL, -- the backup's owner
        to_project_id TEXT,
        by_project_id TEXT NOT NULL,
        by_user_id TEXT NOT NULL,
        request_id TEXT NOT NULL
    ) STRICT
    """,
)


def migrations() -> Migrations:
    """Answer every migration this program knows, in the order in which they apply."""
    known = Migrations(MIGRATION_SET)
    known(name=_INITIAL)(_backups_and_sharings)
    return known


def unknown_migrations(database: Database) -> list[str]:
    """Answer the migrations of a database that only a newer program can know."""
    applied = {migration.name for migration in Migrations(MIGRATION_SET).applied(database)}
    return sorted(applied - {_INITIAL})


def _backups_and_sharings(database: Database) -> None:
    _execute_all(database, (*_BACKUPS, *_SHARINGS, *_IDEMPOTENCY_KEYS, *_SHARING_EVENTS))


def _execute_all(database: Database, statements: Iterable[str]) -> None:
    for statement in statements:
        database.execute(statement)
