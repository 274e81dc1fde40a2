"""Reads of events and of access read ranges of PostgreSQL's indexes in their order, also while a table is new."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest

from backup_sharing.store.history.statements import after_statement, list_statement
from backup_sharing.store.interface import EventFilter
from backup_sharing.store.postgres import sequencer
from backup_sharing.store.postgres.changes import PURGE_EVENTS
from backup_sharing.store.postgres.pooling import settings_statement
from backup_sharing.store.postgres.reads import EVENTS, old_events
from backup_sharing.store.postgres.schema import prepare
from tests.store.commands import GIVER
from tests.store.postgres.test_plans import kinds, plan, probes_only
from tests.support.postgres.databases import drop_database, new_database

FILL = """
    INSERT INTO sharing_events (at, kind, sharing_id, backup_id, from_project_id, to_project_id,
        by_project_id, by_user_id, request_id, position)
    SELECT n, 'shared', 'sharing-' || n, 'backup-' || n % 50,
        CASE WHEN n % 2 = 0 THEN '{giver}' ELSE 'from-' || n % 500 END,
        CASE WHEN n % 4 = 1 THEN '{giver}' ELSE 'to-' || n END, '', '', '',
        CASE WHEN n <= 19990 THEN n END
    FROM generate_series(1, 20000) AS n;
    UPDATE event_order SET last = 19990
"""
SORTS = {"Sort", "Incremental Sort", "Bitmap Heap Scan", "Hash Join", "Merge Join"}
OTHERS = ("kind", "since", "before")


@pytest.fixture(scope="module", params=["new", "filled", "analyzed"])
def session(request: pytest.FixtureRequest, postgres: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Yield a session with a store's settings, in a database that is new, filled, or filled and analyzed."""
    url = new_database(postgres)
    prepare(url)
    with psycopg.connect(url, autocommit=True) as connection:
        if request.param != "new":
            connection.execute("ALTER TABLE sharing_events SET (autovacuum_enabled = off)")
            connection.execute(FILL.format(giver=GIVER))  # type: ignore[call-overload]  # constants
        if request.param == "analyzed":
            connection.execute("VACUUM ANALYZE")
        connection.execute(settings_statement({}, "false"))  # type: ignore[call-overload]  # constants
        connection.execute(sequencer.BY_INDEX.replace("true", "false"))  # type: ignore[call-overload]  # constants
        yield connection
    drop_database(url)


def indexes(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["Index Name"] for node in nodes if "Index Name" in node]


def with_others(**members: str) -> Iterator[EventFilter]:
    for wanted in product([None, 1], repeat=len(OTHERS)):
        kind, since, before = wanted
        yield EventFilter(**members, kind=kind and "shared", since=since, before=before)  # type: ignore[arg-type]


MEMBERS = ("project_id", "other_project_id", "backup_id", "sharing_id")
COMBINATIONS = [
    {name: "x" for name, is_given in zip(MEMBERS, given, strict=True) if is_given}
    for given in product([False, True], repeat=len(MEMBERS))
]


def indexes_of(members: dict[str, str]) -> list[str]:
    """Return the indexes that a page with these filters is read from."""
    if "sharing_id" in members:
        return ["sharing_events_of_sharing"]
    if "backup_id" in members:
        return ["sharing_events_of_backup"]
    return ["sharing_events_given", "sharing_events_received"] if members else ["sharing_events_in_order"]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("members", COMBINATIONS, ids=" ".join)
def test_a_page_of_history_is_read_from_its_index_in_its_order(
    session: psycopg.Connection[tuple[Any, ...]], members: dict[str, str], descending: bool
) -> None:
    wanted = indexes_of(members)
    # Two ranges are sorted after the limit of each.
    sorts = SORTS - {"Sort"} if len(wanted) == 2 else SORTS
    for wanted_events in with_others(**members):
        nodes = plan(session, list_statement(wanted_events, EVENTS.dialect, descending=descending))
        probes_only(nodes)
        assert not kinds(nodes) & sorts
        assert sorted(indexes(nodes)) == wanted


def test_events_after_a_position_are_read_from_there(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    nodes = plan(session, after_statement(EVENTS.dialect))
    probes_only(nodes)
    assert indexes(nodes) == ["sharing_events_in_order"]
    assert not kinds(nodes) & SORTS


def test_a_round_looks_only_at_events_without_position(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    nodes = plan(session, sequencer.PLACE)
    scans = [node for node in nodes if node.get("Relation Name") == "sharing_events" and "Index Name" in node]
    assert {node["Index Name"] for node in scans} <= {"sharing_events_without_position", "sharing_events_pkey"}
    assert "Seq Scan" not in {node["Node Type"] for node in nodes if node.get("Relation Name") == "sharing_events"}
    found = indexes(plan(session, sequencer.WITHOUT_POSITION))
    assert found in (["sharing_events_without_position"], ["sharing_events_in_order"])  # the latter has the same rows


def test_the_bounds_are_looked_up(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    nodes = plan(session, EVENTS.bounds)
    assert indexes(nodes) == ["sharing_events_in_order"]
    assert not kinds(nodes) & SORTS


def test_old_events_are_read_and_deleted_by_position(session: psycopg.Connection[tuple[Any, ...]]) -> None:
    for statement in (old_events(1, 10, 0).statement, PURGE_EVENTS):
        nodes = plan(session, statement)
        probes_only(nodes, but="store")
        assert indexes(nodes) == ["sharing_events_in_order"]
        assert not kinds(nodes) & {"Sort", "Incremental Sort"}
