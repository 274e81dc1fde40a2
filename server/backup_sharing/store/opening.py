"""Opening and migrating databases; the only module that knows all engines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.engine import Engine
from backup_sharing.store.migrations import MIGRATIONS, Migration, SchemaStatus
from backup_sharing.store.observing.observer import StoreObserver
from backup_sharing.store.sqlite import file as sqlite_file
from backup_sharing.store.sqlite.engine import SqliteEngine
from backup_sharing.store.transfer.side import Side
from backup_sharing.store.transfer.sqlite_side import SqliteSide

# The PostgreSQL driver is imported only where it is used: without it, a server on SQLite uses 12 MB less memory.

_SQLITE: Final = "sqlite:"
_POSTGRES: Final = ("postgresql://", "postgres://")


_OTHER_DATABASE: Final = re.compile(
    r"^[A-Za-z][A-Za-z0-9+.-]*://|\b(?:host|hostaddr|dbname|user|password)\s*=", re.IGNORECASE
)

_PATIENCE: Final = 5.0
"""Seconds that schema_status and migrate wait for locks of other processes."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of a store; an engine ignores settings that it does not use."""

    max_waiting: int = 10_000
    """Maximum number of waiting changes."""
    patience: float = 5.0
    """Seconds to wait for the database and for locks of other processes."""
    commit_delay: float = 0.001
    """Maximum seconds that a change waits for others to share its commit; a single caller never waits."""
    read_threads: int = 2
    """SQLite: number of concurrent reads."""
    read_connections: int = 4
    """PostgreSQL: number of concurrent reads."""
    write_connections: int = 1
    """PostgreSQL: number of concurrent transactions that change data."""
    prepared_statements: Literal["auto", "on", "off"] = "auto"
    """PostgreSQL: see `backup_sharing.store.postgres.pooling.PreparedStatements`."""


def checked(database: str) -> str:
    """Return a database's name unchanged; raises ValueError if the name fits no engine.

    A URL of another scheme or a connection string of keywords is not taken for a file name: it may contain a password,
    and file names appear in messages.
    """
    place = _place(database)
    if isinstance(place, Path) and (not place.name or (place == Path(database) and _OTHER_DATABASE.search(database))):
        raise ValueError("expected a file, sqlite:///FILE or postgresql://HOST/NAME")
    return database


async def open_store(
    database: str,
    tuning: Tuning = Tuning(),
    known: Sequence[Migration] = MIGRATIONS,
    *,
    every: bool = False,
    observer: StoreObserver | None = None,
) -> BatchedStore:
    """Open a store on a SQLite file or a PostgreSQL URL; a database without tables gets them.

    ``every``: also migrate tables of an older version, like `migrate`.
    ``observer``: receives measurements.
    While the disk of a SQLite file fails, this returns a store that retries to open the file and raises `Unavailable`.
    Raises UnusableDatabase.
    """
    if every and file_of(database) is None:
        await asyncio.to_thread(migrate, database, known)
    engine = _engine(_place(database), tuning, known, observer, every=every)
    return await BatchedStore.open(
        engine, max_waiting=tuning.max_waiting, commit_delay=tuning.commit_delay, observer=observer
    )


def _engine(
    place: Path | str, tuning: Tuning, known: Sequence[Migration], observer: StoreObserver | None, *, every: bool
) -> Engine:
    if isinstance(place, Path):
        return SqliteEngine(
            place,
            read_threads=tuning.read_threads,
            busy_timeout=tuning.patience,
            known=known,
            every=every,
            observer=observer,
        )
    from backup_sharing.store.postgres.engine import PostgresEngine

    return PostgresEngine(
        place,
        read_connections=tuning.read_connections,
        write_connections=tuning.write_connections,
        patience=tuning.patience,
        prepared=tuning.prepared_statements,
        known=known,
        observer=observer,
    )


def schema_status(database: str, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Return the migration status of a database. Changes nothing.

    Raises UnusableDatabase.
    """
    place = _place(database)
    if isinstance(place, Path):
        return sqlite_file.look(place, busy_timeout=_PATIENCE, known=known)
    from backup_sharing.store.postgres import schema as postgres_schema

    return postgres_schema.look(place, known=known)


def migrate(database: str, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Apply all pending migrations; return the status before. Of several concurrent calls, one migrates.

    Raises UnusableDatabase.
    """
    place = _place(database)
    if isinstance(place, Path):
        return sqlite_file.migrate(place, busy_timeout=_PATIENCE, known=known)
    from backup_sharing.store.postgres import schema as postgres_schema

    return postgres_schema.migrate(place, known=known)


def plan(database: str, known: Sequence[Migration] = MIGRATIONS) -> Mapping[str, Sequence[str]]:
    """Return the statements that `migrate` would execute now, by name of the migration.

    Raises UnusableDatabase.
    """
    pending = schema_status(database, known).pending
    if isinstance(_place(database), Path):
        steps = sqlite_file.statements(known)
    else:
        steps = {migration.name: migration.postgres for migration in known}
    return {name: steps[name] for name in pending}


def open_side(database: str) -> Side:
    """Open a database with existing tables, to copy from it or to it.

    Raises UnusableDatabase.
    """
    place = _place(database)
    if isinstance(place, Path):
        return SqliteSide(place)
    from backup_sharing.store.transfer.postgres_side import PostgresSide

    return PostgresSide(place)


def file_of(database: str) -> Path | None:
    """Return the file of a SQLite database; None for a database of another engine."""
    place = _place(database)
    return place if isinstance(place, Path) else None


def shown(database: str) -> str:
    """Return a database's name without secrets."""
    place = _place(database)
    if isinstance(place, Path):
        return str(place)
    from backup_sharing.store.postgres import connection as postgres_connection

    return postgres_connection.shown(place)


def _place(database: str) -> Path | str:
    if database.startswith(_POSTGRES):
        return database
    if database.startswith(_SQLITE):
        return Path(database.removeprefix(_SQLITE).removeprefix("//"))
    return Path(database)
