"""Reads of events and of access read ranges of SQLite's indexes in their order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from backup_sharing.store.history.statements import after_statement, list_statement, parameters_of
from backup_sharing.store.interface import EventFilter
from backup_sharing.store.listing import Parameters
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from backup_sharing.store.sqlite.reads import EVENTS, check_access, old_events, old_sharings

GIVEN = "SEARCH e USING INDEX sharing_events_given (from_project_id=? AND rowid%?)"
RECEIVED = "SEARCH e USING INDEX sharing_events_received (to_project_id=? AND rowid%?)"
OF_BACKUP = "SEARCH e USING INDEX sharing_events_of_backup (backup_id=? AND rowid%?)"
OF_SHARING = "SEARCH e USING INDEX sharing_events_of_sharing (sharing_id=? AND rowid%?)"
SORT = "USE TEMP B-TREE FOR ORDER BY"
# Each side stops at its limit, and then the rows of both pages are sorted.
MERGED = [
    *("MERGE (UNION ALL)", "LEFT", "CO-ROUTINE side", GIVEN, "SCAN side", SORT),
    *("RIGHT", "CO-ROUTINE side", RECEIVED, "SCAN side", SORT),
]
MEMBERS = ("project_id", "other_project_id", "backup_id", "sharing_id")
COMBINATIONS = [
    {name: "x" for name, is_given in zip(MEMBERS, given, strict=True) if is_given}
    for given in product([False, True], repeat=len(MEMBERS))
]


def steps_of(members: dict[str, str]) -> list[str]:
    """Return the steps of the plan for a page with these filters; % is the comparison."""
    if "sharing_id" in members:
        return [OF_SHARING]
    if "backup_id" in members:
        return [OF_BACKUP]
    return MERGED if members else ["SEARCH e USING INTEGER PRIMARY KEY (rowid%?)"]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        yield connection


def plan(connection: sqlite3.Connection, statement: str, parameters: Parameters) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


@pytest.mark.parametrize(("descending", "beyond"), [(False, ">"), (True, "<")])
@pytest.mark.parametrize("members", COMBINATIONS, ids=" ".join)
def test_a_page_of_history_is_read_from_its_index_in_its_order(
    connection: sqlite3.Connection, members: dict[str, str], descending: bool, beyond: str
) -> None:
    for kind, since, before in product([None, "shared"], [None, 1], [None, 2]):
        wanted_events = EventFilter(**members, kind=kind, since=since, before=before)  # type: ignore[arg-type]
        statement = list_statement(wanted_events, EVENTS.dialect, descending=descending)
        found = plan(connection, statement, parameters_of(wanted_events, 10, 0, None, descending=descending))
        assert found == [step.replace("%", beyond) for step in steps_of(members)]


def test_events_after_a_position_are_read_from_there(connection: sqlite3.Connection) -> None:
    found = plan(connection, after_statement(EVENTS.dialect), {"after": 1, "rows": 10})
    assert found == ["SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"]


def test_the_bounds_are_looked_up(connection: sqlite3.Connection) -> None:
    found = plan(connection, EVENTS.bounds, {})
    # min() reads the first row; the number of events does not matter.
    assert [step for step in found if "sharing_events" in step] == ["SEARCH sharing_events"]


def test_each_pair_of_a_check_is_looked_up(connection: sqlite3.Connection) -> None:
    query = check_access([("b", "p")])
    found = plan(connection, query.statement, {**query.parameters, "now": 1})
    assert "SEARCH s USING INDEX sharings_active (backup_id=? AND to_project_id=?) LEFT-JOIN" in found
    assert "SEARCH b USING INDEX sqlite_autoindex_backups_1 (id=?)" in found


def test_old_rows_are_read_from_the_oldest(connection: sqlite3.Connection) -> None:
    query = old_events(1, 10, 0)
    assert plan(connection, query.statement, query.parameters) == ["SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"]
    ended = old_sharings(1, 10, None)
    found = plan(connection, ended.statement, ended.parameters)
    assert found == ["SEARCH s USING COVERING INDEX sharings_ended ((deleted_at,id)>(?,?) AND deleted_at<?)"]
