"""The most frequent lists read an index in its order, and no further than needed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from backup_sharing.store import listing
from backup_sharing.store.interface import Position, SharingFilter, SortKey
from backup_sharing.store.sqlite.changes import _count, _count_as_assumed, _look_up
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from backup_sharing.store.sqlite.reads import SQLITE, ending, list_statement
from tests.store.commands import GIVER, NOW, given, page

RECEIVED = SharingFilter(GIVER, received=True)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        yield connection


def plan(connection: sqlite3.Connection, statement: tuple[str, listing.Parameters]) -> list[str]:
    sql, parameters = statement
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", {**parameters, "now": NOW})]


FILTERS = ("from_project_id", "to_project_id", "volume_id", "availability_zone", "status", "name")


def counts(connection: sqlite3.Connection, filter: SharingFilter) -> list[list[str]]:
    """Return the plans of a count: of the sharings without a recorded end, and of the due ones among them."""
    steps = plan(connection, listing.count_statement(filter, SQLITE))
    second = steps.index("SCALAR SUBQUERY 2")
    assert steps[:2] == ["SCAN CONSTANT ROW", "SCALAR SUBQUERY 1"]
    return [steps[2:second], steps[second + 1 :]]


BACKUP = "SEARCH b USING INDEX sqlite_autoindex_backups_1 (id=?)"
BACKUP_ID = "SEARCH b USING COVERING INDEX sqlite_autoindex_backups_1 (id=?)"
SORT = "USE TEMP B-TREE FOR ORDER BY"


def sorted_plan(connection: sqlite3.Connection, statement: tuple[str, listing.Parameters]) -> list[str]:
    """Return the plan for a page's ids: SQLite sorts them, then looks up the other columns in that order."""
    begin, *steps, scan, sharing, backup = plan(connection, statement)
    assert (begin, scan) == ("CO-ROUTINE page", "SCAN page")
    assert (sharing, backup) == ("SEARCH s USING PRIMARY KEY (id=?)", BACKUP)
    return steps


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("filter", "search"),
    [
        (given(), "SEARCH s USING INDEX sharings_given (from_project_id=?"),
        (given(name="a", status="b", volume_id="c"), "SEARCH s USING INDEX sharings_given (from_project_id=?"),
        (RECEIVED, "SEARCH s USING INDEX sharings_received (to_project_id=?"),
    ],
)
def test_the_default_list_neither_scans_nor_sorts(
    connection: sqlite3.Connection, filter: SharingFilter, search: str, descending: bool
) -> None:
    assert plan(connection, list_statement(page(filter, descending=descending))) == [f"{search})", BACKUP]


@pytest.mark.parametrize(("descending", "beyond"), [(False, ">"), (True, "<")])
@pytest.mark.parametrize(
    ("filter", "search"),
    [
        (given(), "SEARCH s USING INDEX sharings_given (from_project_id=?"),
        (RECEIVED, "SEARCH s USING INDEX sharings_received (to_project_id=?"),
    ],
)
def test_a_page_by_position_starts_at_its_position_in_the_index(
    connection: sqlite3.Connection, filter: SharingFilter, search: str, descending: bool, beyond: str
) -> None:
    found = plan(connection, list_statement(page(filter, descending=descending, after=Position(1, "id"))))
    assert found == [f"{search} AND (created_at,id){beyond}(?,?))", BACKUP]


@pytest.mark.parametrize(
    ("filter", "search"),
    [
        (given(), "SEARCH s USING COVERING INDEX sharings_given (from_project_id=?)"),
        (RECEIVED, "SEARCH s USING COVERING INDEX sharings_received (to_project_id=?)"),
    ],
)
def test_a_count_reads_nothing_but_the_index(
    connection: sqlite3.Connection, filter: SharingFilter, search: str
) -> None:
    assert counts(connection, filter) == [[search], ["SEARCH s USING INDEX sharings_ending (expires_at<?)"]]


@pytest.mark.parametrize("received", [False, True])
def test_no_filters_make_a_count_read_due_sharings_by_project(connection: sqlite3.Connection, received: bool) -> None:
    for wanted in product([None, "x"], repeat=len(FILTERS)):
        which = SharingFilter(GIVER, received=received, **dict(zip(FILTERS, wanted, strict=True)))
        _, (search, *others) = counts(connection, which)
        assert search == "SEARCH s USING INDEX sharings_ending (expires_at<?)"
        assert set(others) <= {BACKUP}


def test_the_next_sharings_to_end_are_read_in_their_order(connection: sqlite3.Connection) -> None:
    query = ending(10)
    assert plan(connection, (query.statement, query.parameters)) == [
        "SEARCH s USING INDEX sharings_ending (expires_at>?)"
    ]


def test_a_change_finds_due_sharings_by_their_backup(connection: sqlite3.Connection) -> None:
    found = connection.execute(f"EXPLAIN QUERY PLAN {_look_up(1)}", [None] * 3).fetchall()
    steps = {row[3] for row in found}
    assert "SEARCH s USING INDEX sharings_ending_of_backup (backup_id=? AND expires_at<?)" in steps
    assert not [step for step in steps if step.startswith("SCAN s")]


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("statement", [_count, _count_as_assumed])
def test_a_change_finds_the_counters_by_their_backups(
    connection: sqlite3.Connection, statement: Callable[[int], str], rows: int
) -> None:
    sql = statement(rows)
    found = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?")).fetchall()
    steps = [row[3] for row in found]
    (search,) = (step for step in steps if "backups" in step)
    assert re.fullmatch(r"SEARCH backups USING INDEX \w+ \((project_id=\? AND )?id=\?\)", search)
    assert not [step for step in steps if step.startswith("SCAN s")]


@pytest.mark.parametrize("whose", [given(backup_id="b"), SharingFilter(GIVER, received=True, backup_id="b")])
def test_the_sharings_of_one_backup_are_found_by_the_backup(
    connection: sqlite3.Connection, whose: SharingFilter
) -> None:
    search, *_ = sorted_plan(connection, list_statement(page(whose)))
    assert search.startswith("SEARCH s USING INDEX sharings_active (backup_id=?")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("received", [False, True])
def test_no_filters_make_the_default_list_scan_or_sort(
    connection: sqlite3.Connection, received: bool, descending: bool
) -> None:
    # SQLite may start from either index if both projects are given: both have the order.
    indexes = ("sharings_received (to_project_id=?", "sharings_given (from_project_id=?")
    for wanted in product([None, "x"], repeat=len(FILTERS)):
        which = SharingFilter(GIVER, received=received, **dict(zip(FILTERS, wanted, strict=True)))
        for after in (None, Position(1, "id")):
            search, *others = plan(connection, list_statement(page(which, descending=descending, after=after)))
            assert search.startswith(tuple(f"SEARCH s USING INDEX {index}" for index in indexes))
            assert others == [BACKUP]


@pytest.mark.parametrize("received", [False, True])
def test_with_a_backup_only_its_sharings_are_read(connection: sqlite3.Connection, received: bool) -> None:
    for wanted in product([None, "x"], repeat=len(FILTERS)):
        which = SharingFilter(GIVER, received=received, backup_id="b", **dict(zip(FILTERS, wanted, strict=True)))
        search, *others = sorted_plan(connection, list_statement(page(which)))
        assert search.startswith("SEARCH s USING INDEX sharings_active (backup_id=?")
        # A sort is fine: a backup has at most `--max-active-sharings` sharings, or one with the recipient.
        assert set(others) <= {BACKUP, BACKUP_ID, SORT}
        (search, *others), (due, *more) = counts(connection, which)
        assert search.startswith("SEARCH s USING INDEX sharings_active (backup_id=?")
        assert due.startswith("SEARCH s USING INDEX sharings_")
        assert "(backup_id=?" in due
        assert {*others, *more} <= {BACKUP}


@pytest.mark.parametrize(
    ("counted", "search"),
    [
        (listing.Counted.BACKUPS, "SEARCH backups USING COVERING INDEX sqlite_autoindex_backups_1 (id>?)"),
        (
            listing.Counted.SHARINGS,
            "SEARCH sharings USING COVERING INDEX sharings_given ((from_project_id,created_at,id)>(?,?,?))",
        ),
    ],
)
def test_a_part_of_a_count_reads_the_index_from_its_key_on(
    connection: sqlite3.Connection, counted: listing.Counted, search: str
) -> None:
    asked = listing.part_statement(counted, SQLITE), listing.part_parameters(counted, "", 10)
    assert plan(connection, asked) == ["CO-ROUTINE part", search, "SCAN part"]


@pytest.mark.parametrize("key", [key for key in SortKey if key is not SortKey.CREATED_AT])
@pytest.mark.parametrize("filter", [given(), RECEIVED])
def test_no_order_makes_a_list_look_at_the_sharings_of_others(
    connection: sqlite3.Connection, filter: SharingFilter, key: SortKey
) -> None:
    found = sorted_plan(connection, list_statement(page(filter, key=key)))
    assert not [step for step in found if step.startswith("SCAN")]
    assert "project_id=?" in found[0]
    assert found[-1] == SORT
