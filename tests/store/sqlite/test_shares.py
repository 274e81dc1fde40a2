"""Shares made on assumptions have the same result as shares made after reading; a wrong assumption stores nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_sharing.rules.assumed import Assumptions, can_be_assumed
from backup_sharing.rules.commands import Command, PutBackup, Share
from backup_sharing.rules.outcome import Failed, Outcome, Succeeded
from backup_sharing.store.change import Change
from backup_sharing.store.sqlite.batch import carry_out
from backup_sharing.store.sqlite.changes import make as make_after_reading
from backup_sharing.store.sqlite.commit import Commits
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from backup_sharing.store.waiter import Waiters
from tests.store import commands
from tests.store.drawn import BACKUPS, ENDS, EXISTING, LATER, changes
from tests.store.sqlite.scripted import PATIENCE, make
from tests.support.effort import cases

pytestmark = pytest.mark.asyncio

FREE = [commands.project_id(number) for number in range(10, 20)]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        connection.execute("BEGIN")
        for backup in BACKUPS:
            make(connection, PutBackup(backup, commands.cause()))
        for share in EXISTING:
            make(connection, share)
        connection.execute("COMMIT")
        yield connection


class NoCommits(Commits):
    """Leaves the transaction open, so that a test can look at it and roll it back."""

    def commit(self) -> None:
        """Do nothing."""


def stored(connection: sqlite3.Connection) -> list[object]:
    tables = ("backups", "sharings", "idempotency_keys")
    rows: list[object] = [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall() for name in tables]  # noqa: S608 -- constants
    events = connection.execute("SELECT * FROM sharing_events ORDER BY seq").fetchall()
    return [*rows, [event[1:] for event in events]]


def told(outcomes: Sequence[Outcome]) -> list[object]:
    return [
        (type(outcome.failure), str(outcome.failure)) if isinstance(outcome, Failed) else list(outcome.answer)
        for outcome in outcomes
    ]


def as_a_batch(
    connection: sqlite3.Connection, wanted: Sequence[Command], now: int, assumptions: Assumptions
) -> tuple[object, ...]:
    """Return the outcomes and rows of a batch; roll back."""
    batch = [Change(Waiters(PATIENCE), command) for command in wanted]
    commits = NoCommits(connection, lambda _: None)
    outcomes = carry_out(connection, batch, 1.0, commits, lambda: now, assumptions)
    found = told([outcomes[change] for change in batch]), stored(connection)
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    return found


def one_by_one(connection: sqlite3.Connection, wanted: Sequence[Command], now: int) -> tuple[object, ...]:
    """Return the outcomes and rows of changes made one after another, each after reading; roll back."""
    connection.execute("BEGIN")
    outcomes = [outcome for command in wanted for outcome in make_after_reading(connection, [command], now)]
    found = told(outcomes), stored(connection)
    connection.execute("ROLLBACK")
    return found


def to_free_projects(wanted: Sequence[Command]) -> list[Command]:
    """Return the shares, most of them with other recipients than the initial sharings and each other."""
    shares = [command for command in wanted if isinstance(command, Share)]
    free = iter(FREE)
    return [replace(share, to_project_ids=[next(free, each) for each in share.to_project_ids]) for share in shares]


shares = changes.map(to_free_projects).filter(bool)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=cases(300))
@given(changes | shares | st.builds(lambda some: some[:1], shares), st.sampled_from([commands.NOW, LATER]))
async def test_a_batch_comes_to_the_same_as_changes_one_by_one(
    connection: sqlite3.Connection, wanted: list[Command], now: int
) -> None:
    assert as_a_batch(connection, wanted, now, Assumptions()) == one_by_one(connection, wanted, now)


def statements(connection: sqlite3.Connection, wanted: Sequence[Command], now: int = commands.NOW) -> list[str]:
    """Return the first words of all statements of a batch."""
    executed: list[str] = []
    connection.set_trace_callback(lambda sql: executed.append(sql.split()[0]))
    as_a_batch(connection, wanted, now, Assumptions())
    connection.set_trace_callback(None)
    return executed[: executed.index("SELECT")] if "SELECT" in executed else executed


def free(number: int = 0, **members: object) -> Share:
    """Return a share that meets no obstacle."""
    return commands.share(FREE[number], sharing_ids=[f"free-{number}"], **members)  # type: ignore[arg-type]  # keyword members


async def test_shares_that_meet_nothing_take_three_statements(connection: sqlite3.Connection) -> None:
    wanted = [free(number, max_active=100) for number in range(4)]
    assert statements(connection, wanted) == ["BEGIN", "UPDATE", "INSERT", "INSERT"]


OBSTACLES = {
    "no backup": (free(backup_id=commands.backup_id(404)), commands.NOW),
    "a backup of another": (free(backup_id=BACKUPS[3].id), commands.NOW),
    "a backup that is not available": (free(backup_id=BACKUPS[2].id), commands.NOW),
    "a sharing that is due": (free(backup_id=BACKUPS[0].id), ENDS["1"]),
    "the quota": (free(max_active=3), commands.NOW),
    "a recipient that has it": (commands.share(commands.project_id(1), sharing_ids=["again"]), commands.NOW),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_a_wrong_assumption_stores_nothing_and_is_read(connection: sqlite3.Connection, obstacle: str) -> None:
    share, now = OBSTACLES[obstacle]
    assert can_be_assumed([share])
    assert "ROLLBACK" in statements(connection, [free(5, backup_id=BACKUPS[1].id), share], now)
    wanted = [free(5, backup_id=BACKUPS[1].id), share, free(6)]
    assert as_a_batch(connection, wanted, now, Assumptions()) == one_by_one(connection, wanted, now)


async def test_a_known_key_is_answered_and_an_expired_one_replaced(connection: sqlite3.Connection) -> None:
    for number, expires_at in enumerate((commands.NOW + 1, commands.NOW)):
        make(connection, free(number, idempotency=commands.key(f"key {number}", expires_at=expires_at)))
    known = free(7, idempotency=commands.key("key 0"))
    expired = free(8, idempotency=commands.key("key 1"))
    for wanted in ([known], [expired], [known, expired, free(9)]):
        assert as_a_batch(connection, wanted, commands.NOW, Assumptions()) == one_by_one(
            connection, wanted, commands.NOW
        )


async def test_batches_after_a_wrong_assumption_read_first(connection: sqlite3.Connection) -> None:
    assumptions = Assumptions()
    share, now = OBSTACLES["a recipient that has it"]
    as_a_batch(connection, [share], now, assumptions)
    read = 0
    while not assumptions.are_likely:
        as_a_batch(connection, [free()], now, assumptions)
        read += 1
    assert read == 8
    ((answer,), _) = as_a_batch(connection, [free()], now, assumptions)
    assert answer
    assert assumptions.are_likely


async def test_one_that_cannot_be_stored_does_not_touch_its_batch(connection: sqlite3.Connection) -> None:
    taken = commands.share(FREE[0], sharing_ids=["existing-1-1"])
    batch = [Change(Waiters(PATIENCE), command) for command in (free(1), taken, free(2))]
    outcomes = carry_out(
        connection, batch, 1.0, Commits(connection, lambda _: None), lambda: commands.NOW, Assumptions()
    )
    assert [type(outcomes[change]) for change in batch] == [Succeeded, Failed, Succeeded]
