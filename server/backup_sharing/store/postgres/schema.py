"""Preparation of a PostgreSQL database: its tables and its migration status."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg

from backup_sharing.store.migrations import MIGRATIONS, Migration, SchemaStatus, status_of
from backup_sharing.store.postgres.connection import break_off, connection_string, message_of, shown
from backup_sharing.store.unusable import UnreachableDatabase, UnusableDatabase

_LOCK: Final = "lock"
"""Name of a row that is no migration: the session that has locked the row may migrate."""

_LOOK_WITHIN: Final = 5.0
"""Seconds for a server to return its migration status, or to create the tables of an empty database."""

_STATEMENT_POOLING: Final = "statement pooling"
"""Part of PgBouncer's message for BEGIN in the pool mode that allows no transactions."""

_TRIES: Final = 20
_PAUSE: Final = 0.1

_CONTENDED: Final = (
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateTable,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
)

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name TEXT NOT NULL PRIMARY KEY,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )
"""
_TAKE_LOCK: Final = """
    INSERT INTO schema_migrations (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET applied_at = now()
"""
APPLIED: Final = "SELECT name FROM schema_migrations"
"""Statement for the names of the applied migrations, and of the lock."""

_Session = psycopg.Connection[tuple[object, ...]]


def prepare(
    url: str, *, known: Sequence[Migration] = MIGRATIONS, seen: Callable[[str], None] | None = None
) -> SchemaStatus:
    """Create the tables of a database without tables; older tables stay unchanged: see `migrate`.

    ``seen``: called with the version of the database server.
    Raises UnusableDatabase; `UnreachableDatabase` if the cause may be temporary.
    """

    def look_at(session: _Session) -> SchemaStatus:
        if seen is not None:
            seen(session.info.parameter_status("server_version") or "")
        return schema_status(_applied(session), known)

    status = _worked_on(url, look_at, _LOOK_WITHIN)
    if status.unknown:
        raise _newer(url, status)
    if not status.is_empty:
        return status
    return _worked_on(url, lambda session: _apply(url, session, known), _LOOK_WITHIN)


def migrate(url: str, *, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Apply all pending migrations in one transaction; return the status before.

    Of several concurrent calls, one migrates and the others wait for it.
    Raises UnusableDatabase; `UnreachableDatabase` if the cause may be temporary.
    """
    # No time limit, as the database may be large.
    return _worked_on(url, lambda session: _apply(url, session, known), None)


def look(url: str, *, known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Return the migration status of a database. Changes nothing.

    Raises UnusableDatabase; `UnreachableDatabase` if the cause may be temporary.
    """
    return _worked_on(url, lambda session: schema_status(_applied(session), known), _LOOK_WITHIN)


def schema_status(rows: Sequence[tuple[object, ...]], known: Sequence[Migration] = MIGRATIONS) -> SchemaStatus:
    """Return the status for rows of `APPLIED`."""
    return status_of((str(name) for (name,) in rows if name != _LOCK), known)


def _worked_on(url: str, work: Callable[[_Session], SchemaStatus], seconds: float | None) -> SchemaStatus:
    try:
        with (
            psycopg.connect(connection_string(url), autocommit=True, prepare_threshold=None) as session,
            _within(session, seconds),
        ):
            _refuse_statement_pooling(url, session)
            encoding = session.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise UnusableDatabase(shown(url), f"its encoding is {encoding}, UTF8 is needed")
            return _retry_while_contended(lambda: work(session))
    except psycopg.OperationalError as error:
        if error.sqlstate is not None and error.sqlstate.startswith(("28", "3D")):
            raise UnusableDatabase(shown(url), message_of(error)) from error
        if error.sqlstate is None and "password" in str(error):
            raise UnusableDatabase(shown(url), message_of(error)) from error
        raise UnreachableDatabase(shown(url), f"cannot be reached: {message_of(error)}") from error
    except psycopg.Error as error:
        raise UnusableDatabase(shown(url), f"its tables cannot be made or read: {message_of(error)}") from error


def _refuse_statement_pooling(url: str, session: _Session) -> None:
    """Raise UnusableDatabase if a pooler gives each statement another session: no transaction is possible then."""
    try:
        with session.transaction():
            pass
    except psycopg.errors.ProtocolViolation as error:
        if _STATEMENT_POOLING not in message_of(error):
            raise
        raise UnusableDatabase(
            shown(url),
            "the connection pooler there allows no transactions: its pool mode is 'statement', expected is"
            " 'transaction' or 'session'",
        ) from error


@contextmanager
def _within(session: _Session, seconds: float | None) -> Iterator[None]:
    """Break the session off after ``seconds``: a server may be silent for ever."""
    timer = threading.Timer(seconds or 0, break_off, (session,))
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _retry_while_contended(work: Callable[[], SchemaStatus]) -> SchemaStatus:
    # Even CREATE TABLE IF NOT EXISTS fails in two concurrent sessions: at the name, at the row type, or in a catalog.
    for left in reversed(range(_TRIES)):
        try:
            return work()
        except _CONTENDED:
            if not left:
                raise
        time.sleep(_PAUSE)
    raise AssertionError


def _apply(url: str, session: _Session, known: Sequence[Migration]) -> SchemaStatus:
    session.execute(_TABLE)
    with session.transaction():
        session.execute(_TAKE_LOCK, (_LOCK,))
        status = schema_status(session.execute(APPLIED).fetchall(), known)
        if status.unknown:
            raise _newer(url, status)
        for migration in known:
            if migration.name in status.pending:
                for statement in migration.postgres:
                    session.execute(statement)
                session.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (migration.name,))
        return status


def _applied(session: _Session) -> Sequence[tuple[object, ...]]:
    try:
        return session.execute(APPLIED).fetchall()
    except psycopg.errors.UndefinedTable:
        return []


def _newer(url: str, status: SchemaStatus) -> UnusableDatabase:
    return UnusableDatabase(shown(url), f"it was made by a newer version of this program ({', '.join(status.unknown)})")
