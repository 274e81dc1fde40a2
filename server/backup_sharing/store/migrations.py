"""The tables of every engine, as one numbered list of migrations that each database records.

A released migration is never changed: later steps are new migrations, with the next number. A migration must let
servers of the previous version keep working, because they run while replicas are replaced.

Times are microseconds since 1970-01-01 UTC, identifiers are in canonical form. Databases that only speak PostgreSQL's
protocol, such as CockroachDB and YugabyteDB, are not supported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlite_utils import Database

_SQLITE_BACKUPS: Final = (
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
        name_folded TEXT, -- casefold of name: SQLite folds ASCII only
        active_sharings INTEGER NOT NULL DEFAULT 0 -- number of its sharings whose deleted_at is NULL
    ) STRICT
    """,
    "CREATE INDEX backups_of_project ON backups (project_id, id)",
)

# No foreign key to backups: the history of a removed backup stays.
_SQLITE_SHARINGS: Final = (
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

_SQLITE_IDEMPOTENCY_KEYS: Final = (
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

# AUTOINCREMENT never reuses a number, so a reader can resume after the last number it has read.
_SQLITE_SHARING_EVENTS: Final = (
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

# COLLATE "C" orders text by code point, whatever the default collation of the database.
_POSTGRES: Final = (
    """
    CREATE TABLE backups (
        id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        project_id TEXT COLLATE "C" NOT NULL,
        status TEXT COLLATE "C" NOT NULL,
        name TEXT COLLATE "C",
        volume_id TEXT COLLATE "C",
        availability_zone TEXT COLLATE "C",
        size BIGINT,
        object_count BIGINT,
        container TEXT COLLATE "C",
        description TEXT COLLATE "C",
        fail_reason TEXT COLLATE "C",
        snapshot_id TEXT COLLATE "C",
        service_metadata TEXT COLLATE "C",
        is_incremental BOOLEAN,
        has_dependent_backups BOOLEAN,
        created_at BIGINT,
        data_timestamp BIGINT,
        updated_at BIGINT,
        name_folded BYTEA, -- UTF-8 of the casefold of name
        active_sharings BIGINT NOT NULL DEFAULT 0 -- number of its sharings whose deleted_at is NULL
    )
    """,
    "CREATE INDEX backups_of_project ON backups (project_id, id)",
    """
    CREATE TABLE sharings (
        id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        backup_id TEXT COLLATE "C" NOT NULL,
        from_project_id TEXT COLLATE "C" NOT NULL,
        to_project_id TEXT COLLATE "C" NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT,
        deleted_at BIGINT -- NULL while the sharing is active
    )
    """,
    "CREATE UNIQUE INDEX sharings_active ON sharings (backup_id, to_project_id) WHERE deleted_at IS NULL",
    "CREATE INDEX sharings_given ON sharings (from_project_id, created_at, id) WHERE deleted_at IS NULL",
    "CREATE INDEX sharings_received ON sharings (to_project_id, created_at, id) WHERE deleted_at IS NULL",
    """
    CREATE TABLE idempotency_keys (
        project_id TEXT COLLATE "C" NOT NULL,
        method TEXT COLLATE "C" NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        fingerprint BYTEA NOT NULL,
        answer TEXT NOT NULL, -- JSON: a list of sharings as they were answered
        expires_at BIGINT NOT NULL,
        PRIMARY KEY (project_id, method, key)
    )
    """,
    "CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at)",
    # A number is assigned before its transaction commits, so a reader must allow for lower numbers that appear later.
    """
    CREATE TABLE sharing_events (
        seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL, -- backup_put, backup_removed, shared, cancelled
        sharing_id TEXT,
        backup_id TEXT NOT NULL,
        from_project_id TEXT NOT NULL, -- the backup's owner
        to_project_id TEXT,
        by_project_id TEXT NOT NULL,
        by_user_id TEXT NOT NULL,
        request_id TEXT NOT NULL
    )
    """,
    # One row per transaction that changed data, kept while its server may have to look up whether the transaction was
    # committed: the connection may break between the commit and its acknowledgement. A claimed row prevents its
    # transaction from being committed.
    """
    CREATE TABLE batches (
        id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        claimed BOOLEAN NOT NULL DEFAULT FALSE,
        made_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )
    """,
)

# The index of a column ends with the row's number, and so with the place of its event.
_SQLITE_ENDS_AND_CURSORS: Final = (
    "ALTER TABLE sharings ADD COLUMN expires_at INTEGER",
    "CREATE INDEX sharings_ending ON sharings (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL",
    """
    CREATE INDEX sharings_ending_of_backup ON sharings (backup_id, expires_at)
    WHERE deleted_at IS NULL AND expires_at IS NOT NULL
    """,
    "CREATE TABLE store (id TEXT NOT NULL) STRICT",
    "INSERT INTO store (id) VALUES (lower(hex(randomblob(8))))",
    "CREATE INDEX sharing_events_given ON sharing_events (from_project_id)",
    "CREATE INDEX sharing_events_received ON sharing_events (to_project_id) WHERE to_project_id IS NOT NULL",
    "CREATE INDEX sharing_events_of_backup ON sharing_events (backup_id)",
)

_POSTGRES_ENDS_AND_CURSORS: Final = (
    "ALTER TABLE sharings ADD COLUMN expires_at BIGINT",
    "CREATE INDEX sharings_ending ON sharings (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL",
    """
    CREATE INDEX sharings_ending_of_backup ON sharings (backup_id, expires_at)
    WHERE deleted_at IS NULL AND expires_at IS NOT NULL
    """,
    'CREATE TABLE store (id TEXT COLLATE "C" NOT NULL)',
    "INSERT INTO store (id) VALUES (substr(md5(random()::text || clock_timestamp()::text), 1, 16))",
    # Assigned after the commit, see `backup_sharing.store.postgres.sequencer`.
    "ALTER TABLE sharing_events ADD COLUMN position BIGINT",
    "CREATE UNIQUE INDEX sharing_events_in_order ON sharing_events (position)",
    "CREATE INDEX sharing_events_without_position ON sharing_events (seq) WHERE position IS NULL",
    "CREATE INDEX sharing_events_given ON sharing_events (from_project_id, position)",
    """
    CREATE INDEX sharing_events_received ON sharing_events (to_project_id, position) WHERE to_project_id IS NOT NULL
    """,
    "CREATE INDEX sharing_events_of_backup ON sharing_events (backup_id, position)",
    "CREATE TABLE event_order (last BIGINT NOT NULL)",
    "INSERT INTO event_order (last) VALUES (0)",
)

# The history finds the events of a sharing without the sharing, which may be deleted before its events.
_SQLITE_RETENTION: Final = (
    "CREATE INDEX sharing_events_of_sharing ON sharing_events (sharing_id) WHERE sharing_id IS NOT NULL",
    "CREATE INDEX sharings_ended ON sharings (deleted_at, id) WHERE deleted_at IS NOT NULL",
)

_POSTGRES_RETENTION: Final = (
    "CREATE INDEX sharing_events_of_sharing ON sharing_events (sharing_id, position) WHERE sharing_id IS NOT NULL",
    "CREATE INDEX sharings_ended ON sharings (deleted_at, id) WHERE deleted_at IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version of the tables to the next, applied completely or not at all."""

    name: str
    """Name, beginning with the number; a database records it."""
    about: str
    """Description for the person who plans the migration."""
    sqlite: Callable[[Database], None]
    """The step on SQLite."""
    postgres: Sequence[str]
    """Statements of the script for PostgreSQL."""


def _backups_and_sharings(database: Database) -> None:
    for statement in (*_SQLITE_BACKUPS, *_SQLITE_SHARINGS, *_SQLITE_IDEMPOTENCY_KEYS, *_SQLITE_SHARING_EVENTS):
        database.execute(statement)


def _ends_and_cursors(database: Database) -> None:
    for statement in _SQLITE_ENDS_AND_CURSORS:
        database.execute(statement)


def _retention(database: Database) -> None:
    for statement in _SQLITE_RETENTION:
        database.execute(statement)


MIGRATIONS: Final = (
    Migration(
        "0001_backups_and_sharings",
        "Backups, sharings, idempotency keys and the events of every change",
        _backups_and_sharings,
        _POSTGRES,
    ),
    Migration(
        "0002_ends_and_cursors",
        "Sharings that end by themselves, and a cursor for each event",
        _ends_and_cursors,
        _POSTGRES_ENDS_AND_CURSORS,
    ),
    Migration(
        "0003_retention",
        "Indexes to delete old events and ended sharings by",
        _retention,
        _POSTGRES_RETENTION,
    ),
)
"""Every migration known to this program, in the order of application."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Migration status of a database, as names of migrations."""

    applied: Sequence[str]
    pending: Sequence[str]
    """Known to this program, but not applied to the database."""
    unknown: Sequence[str]
    """Applied to the database, but not known to this program: a newer version has used the database."""

    @property
    def is_empty(self) -> bool:
        """Whether no migration was ever applied."""
        return not self.applied


def status_of(applied: Iterable[str], known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Return the status of a database with these applied migrations."""
    there = set(applied)
    names = [migration.name for migration in known]
    return SchemaStatus(sorted(there), [name for name in names if name not in there], sorted(there.difference(names)))
