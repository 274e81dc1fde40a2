"""The most frequent queries read an index of PostgreSQL in its order, also while a table is new."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest

from backup_sharing.store import listing
from backup_sharing.store.interface import Position, SharingFilter, SortKey
from backup_sharing.store.postgres import changes as postgres_changes
from backup_sharing.store.postgres import shares as postgres_shares
from backup_sharing.store.postgres.pooling import settings_statement
from backup_sharing.store.postgres.reads import (
    _GET_BACKUP,
    _GET_SHARING,
    EVENTS,
    POSTGRES,
    ending,
    list_statement,
    old_sharings,
)
from backup_sharing.store.postgres.schema import prepare
from tests.store.commands import GIVER, OTHER, given, page
from tests.support.postgres.databases import drop_database, new_database

RECEIVED = SharingFilter(GIVER, received=True)
LIST_INDEXES = {"sharings_given", "sharings_received"}

FILL = """
    INSERT INTO backups (id, project_id, status, name, name_folded)
    SELECT 'backup-' || n, CASE WHEN n % 2 = 0 THEN '{giver}' ELSE '{other}' END, 'available', 'name', 'name'
    FROM generate_series(1, 2000) AS n;
    INSERT INTO sharings (id, backup_id, from_project_id, to_project_id, created_at, deleted_at, expires_at)
    SELECT 'sharing-' || n, 'backup-' || n % 2000, CASE WHEN n % 10 = 0 THEN '{giver}' ELSE 'from-' || n % 500 END,
        CASE WHEN n % 4 = 1 AND n < 2000 THEN '{giver}' ELSE 'to-' || n END, n, CASE WHEN n % 7 = 0 THEN n END,
        CASE WHEN n % 3 = 0 THEN n END
    FROM generate_series(1, 20000) AS n;
    INSERT INTO idempotency_keys
    SELECT 'project', 'Share', 'key-' || n, '', '[]', n FROM generate_series(1, 20000) AS n;
    INSERT INTO batches (id) SELECT 'batch-' || n FROM generate_series(1, 20) AS n
"""


@pytest.fixture(scope="module", params=["new", "filled", "analyzed"])
def session(request: pytest.FixtureRequest, postgres: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Yield a session with a store's settings, in a database that is new, filled, or filled and analyzed."""
    url = new_database(postgres)
    prepare(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if request.param != "new":
            connection.execute("ALTER TABLE sharings SET (autovacuum_enabled = off)")
            connection.execute("ALTER TABLE backups SET (autovacuum_enabled = off)")
            connection.execute(FILL.format(giver=GIVER, other=OTHER))  # type: ignore[call-overload]  # constants
        if request.param == "analyzed":
            connection.execute("VACUUM ANALYZE")
        connection.execute(settings_statement({}, "false"))  # type: ignore[call-overload]  # constants
        yield connection
    drop_database(url)


def plan(session: psycopg.Connection[tuple[Any, ...]], statement: str) -> list[dict[str, Any]]:
    """Return the nodes of a statement's generic plan, which holds for all parameters."""
    names: dict[str, int] = {}
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.setdefault(found[1], len(names) + 1)}", statement)
    for number in range(1, statement.count("%s") + 1):
        numbered = numbered.replace("%s", f"${number}", 1)
    asked = f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered}"
    (((found,),),) = session.execute(asked).fetchall()  # type: ignore[call-overload]  # constants
    return list(nodes_of(found["Plan"]))


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from nodes_of(below)


def kinds(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Node Type"] for node in nodes}


def probes_only(nodes: list[dict[str, Any]], but: str = "") -> None:
    """Assert that each table except ``but`` is read only by index conditions."""
    for node in nodes:
        if node["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"}:
            assert "Index Cond" in node or node.get("Relation Name") == but, node


FILTERS = ("from_project_id", "to_project_id", "volume_id", "availability_zone", "status", "name")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("filter", [given(), RECEIVED])
def test_the_default_list_is_read_from_its_index_in_its_order(
    session: psycopg.Connection[tuple[Any, ...]], filter: SharingFilter, descending: bool
) -> None:
    for after in (None, Position(1, "id")):
        nodes = plan(session, list_statement(page(filter, descending=descending, after=after))[0])
        probes_only(nodes)
        assert not kinds(nodes) & {"Sort", "Incremental Sort", "Bitmap Heap Scan", "Hash Join", "Merge Join"}
        wanted = "sharings_received" if filter.received else "sharings_given"
        assert [node["Index Name"] for node in nodes if "Index Name" in node] == [wanted, "backups_pkey"]


@pytest.mark.parametrize("received", [False, True])
def test_no_filter_makes_a_list_look_at_the_sharings_of_others(
    session: psycopg.Connection[tuple[Any, ...]], received: bool
) -> None:
    for wanted in product([None, "x"], repeat=len(FILTERS)):
        which = SharingFilter(GIVER, received=received, **dict(zip(FILTERS, wanted, strict=True)))
        for statement, _ in (
            list_statement(page(which)),
            listing.count_statement(which, POSTGRES),
        ):
            # A full scan of the backups is fine for a project with sharings of most backups.
            probes_only(plan(session, statement), but="backups")


@pytest.mark.parametrize("key", SortKey)
def test_no_order_makes_a_list_look_at_the_sharings_of_others(
    session: psycopg.Connection[tuple[Any, ...]], key: SortKey
) -> None:
    probes_only(plan(session, list_statement(page(given(), key=key))[0]), but="backups")


@pytest.mark.parametrize("filter", [given(), RECEIVED])
def test_a_count_reads_nothing_but_the_index(
    session: psycopg.Connection[tuple[Any, ...]], filter: SharingFilter
) -> None:
    nodes = plan(session, listing.count_statement(filter, POSTGRES)[0])
    probes_only(nodes)
    assert {node["Index Name"] for node in nodes if "Index Name" in node} <= {*LIST_INDEXES, "sharings_ending"}


def test_the_next_sharings_to_end_are_read_in_their_order(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    names = [node.get("Index Name") for node in plan(session, ending(10).statement) if "Index Name" in node]
    assert names == ["sharings_ending"]


@pytest.mark.parametrize(
    ("counted", "index"), [(listing.Counted.BACKUPS, "backups_pkey"), (listing.Counted.SHARINGS, "sharings_given")]
)
def test_a_part_of_a_count_reads_the_index_from_its_key_on(
    session: psycopg.Connection[tuple[Any, ...]], counted: listing.Counted, index: str
) -> None:
    nodes = plan(session, listing.part_statement(counted, POSTGRES))
    assert [node["Index Name"] for node in nodes if "Index Name" in node] == [index]
    assert not [node for node in nodes if "Sort" in node["Node Type"] or node["Node Type"] == "Seq Scan"]
    assert [node for node in nodes if "Index Cond" in node]


def test_the_first_sharings_that_ended_are_read_in_order(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    nodes = plan(session, old_sharings(1, 10, None).statement)
    probes_only(nodes)
    assert [node["Index Name"] for node in nodes if "Index Name" in node] == ["sharings_ended"]
    assert not kinds(nodes) & {"Sort", "Incremental Sort"}


def test_single_rows_are_looked_up(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    for statement in (_GET_SHARING, _GET_BACKUP):
        probes_only(plan(session, statement))


def test_each_pair_of_a_check_is_looked_up(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    nodes = plan(session, EVENTS.accesses)
    for node in nodes:
        if node.get("Relation Name") in {"backups", "sharings"}:
            assert "Index Cond" in node
    names = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert names <= {"backups_pkey", "sharings_active", "sharings_received"}
    assert not kinds(nodes) & {"Hash Join", "Merge Join"}


CHANGES = {
    name: statement
    for module in (postgres_changes, postgres_shares)
    for name, statement in vars(module).items()
    if isinstance(statement, str) and statement.lstrip().startswith(("SELECT", "WITH", "UPDATE", "INSERT", "DELETE"))
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_change_asks_for_is_looked_up(session: psycopg.Connection[tuple[Any, ...]], name: str) -> None:
    # The store has one row.
    probes_only(plan(session, CHANGES[name]), but="store")


@pytest.mark.parametrize("name", ["_ACTIVE_PAIRS", "_ACTIVE_BY_ID", "_BACKUPS", "_DUE_OF", "_CHECK", "_KEYS"])
def test_what_a_change_asks_for_is_looked_up_row_by_row(
    session: psycopg.Connection[tuple[Any, ...]], name: str
) -> None:
    assert not kinds(plan(session, CHANGES[name])) & {"Hash Join", "Merge Join"}
