"""Batches: the SQLite store makes many changes in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from backup_sharing.rules.assumed import Assumptions
from backup_sharing.rules.outcome import Succeeded
from backup_sharing.store.change import Change
from backup_sharing.store.engine import system_clock
from backup_sharing.store.sqlite import batch as sqlite_batch
from backup_sharing.store.sqlite.batch import carry_out
from backup_sharing.store.sqlite.commit import Commits
from backup_sharing.store.sqlite.connection import connect
from tests.store.sqlite.scripted import change, make_scripted

Run = Callable[[sqlite3.Connection], object]

PAGES = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, padding BLOB)")
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path, busy_timeout=0)) as connection:
        yield connection


@pytest.fixture
def statements(connection: sqlite3.Connection) -> list[str]:
    """Return a list of the first words of all statements executed from now on."""
    executed: list[str] = []
    connection.set_trace_callback(lambda sql: executed.append(sql.split()[0]))
    return executed


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_batch, "make", make_scripted)


def insert(number: int, kilobytes: int = 0) -> Run:
    """Return a function that inserts a row."""

    def run(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO numbers VALUES (?, zeroblob(?))", (number, kilobytes * 1024))
        return number

    return run


def insert_then_fail(number: int) -> Run:
    def run(connection: sqlite3.Connection) -> None:
        insert(number)(connection)
        raise LookupError(number)

    return run


def slow(_: sqlite3.Connection) -> None:
    time.sleep(0.05)


def given_up(run: Run) -> Change:
    """Return a change whose caller has gone."""
    given_up = change(run)
    given_up.answered.cancel()
    return given_up


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]


async def kinds(
    changes: Sequence[Change | Run], connection: sqlite3.Connection, busy_timeout: float = 1
) -> list[type | None]:
    """Carry out the changes; return Succeeded, the type of the caller's failure, or None for a caller that has gone."""
    batch = [each if isinstance(each, Change) else change(each) for each in changes]
    outcomes = carry_out(
        connection, batch, busy_timeout, Commits(connection, lambda _: None), system_clock, Assumptions()
    )
    for each, outcome in outcomes.items():
        each.settle(outcome)
    reported = await asyncio.gather(*(each.answered for each in batch), return_exceptions=True)
    for each in batch:
        each.leave()
    kinds = [type(failure) if isinstance(failure, BaseException) else Succeeded for failure in reported]
    return [None if kind is asyncio.CancelledError else kind for kind in kinds]


async def test_changes_share_one_transaction_without_savepoints(
    connection: sqlite3.Connection, path: Path, statements: list[str]
) -> None:
    assert await kinds([insert(n) for n in range(3)], connection) == [Succeeded] * 3
    assert statements == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert numbers(path) == [0, 1, 2]


async def test_a_failing_change_is_undone_alone(
    connection: sqlite3.Connection, path: Path, statements: list[str]
) -> None:
    changes = [insert(1), insert_then_fail(2), insert(2), insert(2), insert(3)]
    assert await kinds(changes, connection) == [Succeeded, LookupError, Succeeded, RuntimeError, Succeeded]
    assert statements.count("COMMIT") == 1
    assert numbers(path) == [1, 2, 3]


async def test_a_single_failing_change_is_rolled_back_and_made_once(
    connection: sqlite3.Connection, path: Path, statements: list[str]
) -> None:
    assert await kinds([insert_then_fail(1)], connection) == [LookupError]
    assert statements.count("INSERT") == 1
    assert (statements[-1], "COMMIT" in statements) == ("ROLLBACK", False)
    assert numbers(path) == []


async def test_a_change_late_before_the_commit_is_left_out_alone(connection: sqlite3.Connection, path: Path) -> None:
    changes = [insert(1), change(insert(2), commit_by=time.monotonic() + 0.03), slow, insert(3)]
    assert await kinds(changes, connection) == [Succeeded, DeadlineTooClose, Succeeded, Succeeded]
    assert numbers(path) == [1, 3]


async def test_what_failed_because_of_a_late_change_is_made_without_it(
    connection: sqlite3.Connection, path: Path
) -> None:
    changes = [change(insert(1), commit_by=time.monotonic() + 0.03), slow, insert(1), insert_then_fail(7)]
    assert await kinds(changes, connection) == [DeadlineTooClose, Succeeded, Succeeded, LookupError]
    assert numbers(path) == [1]


async def test_a_change_that_was_given_up_is_not_made(connection: sqlite3.Connection, path: Path) -> None:
    assert await kinds([given_up(insert(1)), insert(2)], connection) == [None, Succeeded]
    assert await kinds([given_up(insert(3))], connection) == [None]
    assert numbers(path) == [2]


async def test_changes_that_were_given_up_do_not_wait_for_the_lock(connection: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await kinds([given_up(insert(1))], connection, busy_timeout=0) == [None]


async def test_late_changes_do_not_wait_for_the_lock_and_others_do(connection: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert await kinds([change(insert(1), commit_by=began + 0.05)], connection, busy_timeout=600) == [
            DeadlineTooClose
        ]
        assert 0.05 <= time.monotonic() - began < 60
        changes = [change(insert(1), commit_by=time.monotonic() + 0.05), insert(2)]
        assert await kinds(changes, connection, busy_timeout=0.2) == [DeadlineTooClose, Unavailable]


@pytest.mark.parametrize("changes", [[insert(1, kilobytes=900)], [insert(1), insert(2, kilobytes=900), insert(3)]])
async def test_a_full_database_fails_what_does_not_fit_keeping_nothing(
    connection: sqlite3.Connection, path: Path, changes: list[Run]
) -> None:
    connection.execute(f"PRAGMA max_page_count = {PAGES}")
    outcomes = await kinds(changes, connection)
    assert set(outcomes) <= {Succeeded, Unavailable}
    assert Unavailable in outcomes
    kept = [n for n, outcome in enumerate(outcomes, 1) if outcome is Succeeded]
    assert numbers(path) == kept
    assert await kinds([insert(9)], connection) == [Succeeded]


class FailingCommit(sqlite3.Connection):
    """A connection to a disk that fails at the commit."""

    failing = True

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:  # noqa: ANN401 -- as in the base class
        if sql == "COMMIT" and self.failing:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, parameters)


@pytest.mark.parametrize(("extra", "reported"), [(insert(3), OutcomeUnknown), (insert_then_fail(3), Unavailable)])
async def test_a_change_whose_commit_failed_must_be_outcome_unknown(
    path: Path, extra: Run, reported: type[Exception]
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, factory=FailingCommit)) as connection:
        assert await kinds([insert(1), insert(2), extra], connection) == [OutcomeUnknown, OutcomeUnknown, reported]
        connection.rollback()
        connection.failing = False
        assert await kinds([insert(4)], connection) == [Succeeded]
    assert numbers(path) == [4]


def ends_the_transaction(connection: sqlite3.Connection) -> None:
    # SQLite rolls back by itself, for example when it cannot write a journal.
    connection.execute("INSERT OR ROLLBACK INTO numbers (n) VALUES (1), (1)")


async def test_when_sqlite_ends_a_transaction_no_change_counts_as_made(
    connection: sqlite3.Connection, path: Path
) -> None:
    changes = [insert(5), ends_the_transaction, insert(6)]
    assert await kinds(changes, connection) == [RuntimeError] * 3
    assert numbers(path) == []


async def test_a_transaction_left_open_does_not_stop_the_next_batch(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    insert(1)(connection)
    assert await kinds([insert(2)], connection) == [Succeeded]
    assert numbers(path) == [2]


async def test_no_change_is_made_twice_when_it_is_redone(connection: sqlite3.Connection, path: Path) -> None:
    made: list[int] = []

    def counted(number: int) -> Callable[[sqlite3.Connection], object]:
        def make(connection: sqlite3.Connection) -> None:
            made.append(number)
            insert(number)(connection)

        return make

    changes = [counted(1), insert_then_fail(2), counted(3)]
    assert await kinds(changes, connection) == [Succeeded, LookupError, Succeeded]
    assert made == [1, 1, 3]
    assert numbers(path) == [1, 3]
