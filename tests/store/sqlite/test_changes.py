"""Changes made together have the same result as changes made one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from backup_sharing.rules.commands import Command, OnConflict, PutBackup, RemoveBackup
from backup_sharing.rules.outcome import Failed, Outcome
from backup_sharing.store.sqlite.changes import make as make_all
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from tests.store import commands
from tests.store.drawn import BACKUPS, EXISTING, changes
from tests.store.sqlite.scripted import make
from tests.support.effort import cases


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        for backup in BACKUPS:
            make(connection, PutBackup(backup, commands.cause()))
        for share in EXISTING:
            make(connection, share)
        yield connection


def made_and_stored(connection: sqlite3.Connection, wanted: Sequence[Command], at_once: int) -> tuple[object, ...]:
    """Return the outcome of each change and the stored rows; roll everything back."""
    connection.execute("BEGIN")
    try:
        outcomes = [
            outcome
            for first in range(0, len(wanted), at_once)
            for outcome in make_all(connection, wanted[first : first + at_once], commands.NOW)
        ]
        tables = [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()  # noqa: S608 -- constants
            for table in ("backups", "sharings", "idempotency_keys")
        ]
        events = connection.execute("SELECT * FROM sharing_events ORDER BY seq").fetchall()
    finally:
        connection.execute("ROLLBACK")
    return [_told(outcome) for outcome in outcomes], tables, [event[1:] for event in events]


def _told(outcome: Outcome) -> object:
    return (type(outcome.failure), str(outcome.failure)) if isinstance(outcome, Failed) else outcome.answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(300))
@given(changes)
def test_changes_made_together_come_to_the_same_as_one_by_one(
    connection: sqlite3.Connection, wanted: list[Command]
) -> None:
    together = made_and_stored(connection, wanted, len(wanted))
    assert together == made_and_stored(connection, wanted, 1)


def test_more_shares_than_a_statement_has_rows_come_to_the_same(connection: sqlite3.Connection) -> None:
    shares = [
        commands.share(
            *map(commands.project_id, range(n, n + 7)),
            backup_id=BACKUPS[n % 2].id,
            sharing_ids=[f"{n}-{of}" for of in range(7)],
            on_conflict=OnConflict.RETURN if n % 3 else OnConflict.REFUSE,
        )
        for n in range(0, 700, 5)
    ]
    assert made_and_stored(connection, shares, len(shares)) == made_and_stored(connection, shares, 1)


def test_a_failure_is_raised_when_a_change_is_made_by_itself(connection: sqlite3.Connection) -> None:
    with pytest.raises(Exception, match="could not be found"):
        make(connection, RemoveBackup(commands.backup_id(404), commands.cause()))
