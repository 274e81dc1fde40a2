"""Shares that are made together come to the same as shares that are made one after the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import Failure
from server.store.interface import OnConflict, Share
from server.store.sqlite_batch import Made, NotMade, Outcome
from server.store.sqlite_changes import put_backup
from server.store.sqlite_connection import connect
from server.store.sqlite_file import prepare
from server.store.sqlite_shares import share, share_all
from tests.store import commands

BACKUPS = [
    commands.backup(commands.backup_id(1)),
    commands.backup(commands.backup_id(2)),
    commands.backup(commands.backup_id(3), status="error"),
    commands.backup(commands.backup_id(4), project_id=commands.OTHER),
]
IDS = [*(backup.id for backup in BACKUPS), commands.backup_id(5)]

wanted = st.tuples(
    st.sampled_from([commands.BACKUP_ID, *IDS]),
    st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True),
    st.sampled_from([commands.GIVER, commands.GIVER, commands.OTHER]),
    st.sampled_from(OnConflict),
    st.integers(0, 4),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        for backup in BACKUPS:
            put_backup(connection, backup, commands.cause())
        yield connection


def made_and_stored(
    connection: sqlite3.Connection,
    shares: Sequence[Share],
    make: Callable[[sqlite3.Connection, Sequence[Share]], Sequence[Outcome]],
) -> tuple[object, ...]:
    """What became of each share, and all sharings and events afterwards; nothing of it stays."""
    connection.execute("BEGIN")
    try:
        outcomes = make(connection, shares)
        sharings = connection.execute("SELECT * FROM sharings ORDER BY id").fetchall()
        events = connection.execute("SELECT * FROM sharing_events ORDER BY seq").fetchall()
    finally:
        connection.execute("ROLLBACK")
    return [_told(outcome) for outcome in outcomes], sharings, [event[1:] for event in events]


def _told(outcome: Outcome) -> object:
    return (type(outcome.failure), str(outcome.failure)) if isinstance(outcome, NotMade) else outcome.answer


def one_by_one(connection: sqlite3.Connection, shares: Sequence[Share]) -> Sequence[Outcome]:
    outcomes: list[Outcome] = []
    for command in shares:
        try:
            outcomes.append(Made(share(connection, command)))
        except Failure as failure:
            outcomes.append(NotMade(failure))
    return outcomes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(wanted, min_size=1, max_size=12))
def test_shares_made_together_come_to_the_same_as_one_by_one(
    connection: sqlite3.Connection, drawn: list[tuple[str, list[int], str, OnConflict, int]]
) -> None:
    shares = [
        commands.share(
            *map(commands.project_id, recipients),
            backup_id=backup_id,
            giver=giver,
            sharing_ids=[f"sharing-{number:02}-{recipient}" for recipient in recipients],
            on_conflict=on_conflict,
            max_active=max_active,
            because=commands.cause(commands.NOW + number),
        )
        for number, (backup_id, recipients, giver, on_conflict, max_active) in enumerate(drawn)
    ]
    assert made_and_stored(connection, shares, share_all) == made_and_stored(connection, shares, one_by_one)


def test_more_shares_than_a_statement_has_rows_come_to_the_same(connection: sqlite3.Connection) -> None:
    shares = [
        commands.share(*map(commands.project_id, range(n, n + 7)), backup_id=IDS[n % 2]) for n in range(0, 700, 5)
    ]
    assert made_and_stored(connection, shares, share_all) == made_and_stored(connection, shares, one_by_one)
