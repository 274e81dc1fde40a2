"""Positions in PostgreSQL: no reader skips an event that commits late, and no event has two positions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import EventFilter, Store, StoredEvent
from backup_sharing.store.postgres import sequencer
from backup_sharing.store.postgres.connection import configure
from backup_sharing.store.postgres.pooling import Connection
from tests.store.commands import BACKUP_ID, GIVER, OTHER, RECIPIENT, backup, backup_id, cause, share
from tests.store.opened import open_postgres

EVENT = """
    INSERT INTO sharing_events (kind, at, by_project_id, by_user_id, request_id, backup_id, from_project_id)
    VALUES ('backup_put', 1, '', '', %s, %s, %s)
"""
POSITIONS = "SELECT position FROM sharing_events ORDER BY position"


@contextmanager
def open_transaction(url: str, *requests: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Yield a connection whose transaction has written events, and that the test may commit."""
    with psycopg.connect(url) as connection:
        for request in requests:
            connection.execute(EVENT, (request, backup_id(9), GIVER))
        yield connection
        connection.rollback()


async def positions(url: str) -> list[int | None]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return [position for (position,) in await (await connection.execute(POSITIONS)).fetchall()]


class Follower:
    """Reads events by cursor as a watcher does, and the history page by page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seen: list[StoredEvent] = []

    async def read(self) -> list[StoredEvent]:
        """Read what is new; check that each way to read the history gives the same."""
        new = await self._store.events_after(self.seen[-1].position if self.seen else 0, 1000)
        self.seen += new
        for wanted_events in (EventFilter(), EventFilter(GIVER)):
            for descending in (False, True):
                paged: list[StoredEvent] = []
                while True:
                    after = paged[-1].position if paged else None
                    page = await self._store.list_events(wanted_events, 2, 0, after, descending=descending)
                    paged += page.items
                    if not page.more:
                        break
                assert (paged[::-1] if descending else paged) == self.seen
        assert (await self._store.log_bounds()).newest == len(self.seen)
        return list(new)


async def test_an_event_that_commits_late_is_in_its_place_once(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        follower = Follower(store)
        with open_transaction(database_url, "late-1", "late-2") as late:
            # These events have higher numbers than those of the open transaction, and commit before them.
            await store.put_backup(PutBackup(backup(), cause()))
            assert [each.event.kind for each in await follower.read()] == ["backup_put"]
            await store.share(share(RECIPIENT))
            assert [each.event.kind for each in await follower.read()] == ["shared"]
            late.commit()
            assert [each.event.request_id for each in await follower.read()] == ["late-1", "late-2"]
            await store.share(share(OTHER))
            assert [each.event.to_project_id for each in await follower.read()] == [OTHER]
        assert [each.position for each in follower.seen] == [1, 2, 3, 4, 5]
    finally:
        await store.close()


async def test_a_page_token_from_before_a_late_commit_still_fits(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        await store.put_backup(PutBackup(backup(), cause()))
        with open_transaction(database_url, "late") as late:
            made = await store.share(share(*(f"project-{number}" for number in range(6))))
            first = await store.list_events(EventFilter(), 3, 0, None, descending=True)
            late.commit()
            rest = await store.list_events(EventFilter(), 9, 0, first.items[-1].position, descending=True)
        shown = [each.event.sharing_id for each in (*first.items, *rest.items)]
        assert shown == [*(sharing.id for sharing in reversed(made)), None]
    finally:
        await store.close()


async def test_an_open_transaction_of_others_holds_nobody_up(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        with psycopg.connect(database_url) as other:
            other.execute("SELECT pg_current_xact_id()")
            await store.put_backup(PutBackup(backup(), cause()))
            assert len(await store.events_after(0, 10)) == 1
    finally:
        await store.close()


async def test_an_aborted_transaction_leaves_no_gap(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        with open_transaction(database_url, "never"):
            await store.put_backup(PutBackup(backup(), cause()))
        await store.share(share(RECIPIENT))
        assert [each.position for each in await store.events_after(0, 10)] == [1, 2]
    finally:
        await store.close()


async def test_rounds_of_two_stores_give_each_event_one_position(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = sequencer.PLACE.replace(f"LIMIT {sequencer.MOST_PER_ROUND}", "LIMIT 3")
    monkeypatch.setattr(sequencer, "PLACE", small)
    monkeypatch.setattr(sequencer, "MOST_PER_ROUND", 3)
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(2):
            stores.append(await open_postgres(database_url, read_connections=3))
            stack.push_async_callback(stores[-1].close)
        await stores[0].put_backup(PutBackup(backup(), cause()))
        done = asyncio.Event()

        async def follow(store: Store) -> list[StoredEvent]:
            seen: list[StoredEvent] = []
            is_last = False
            while True:
                new = await store.events_after(seen[-1].position if seen else 0, 5)
                seen += new
                if not new and is_last:
                    return seen
                is_last = done.is_set()

        async def change(number: int) -> None:
            identifier = backup_id(number)
            await stores[number % 2].put_backup(PutBackup(backup(identifier), cause()))
            await stores[number % 2].share(share(*(f"project-{each}" for each in range(5)), backup_id=identifier))
            await stores[number % 2].put_backup(PutBackup(backup(identifier, status="x"), cause()))

        following = [asyncio.create_task(follow(store)) for store in stores for _ in range(3)]
        await asyncio.gather(*map(change, range(10, 30)))
        done.set()
        first, *others = await asyncio.gather(*following)
    assert [each.position for each in first] == list(range(1, 1 + 20 * 7 + 1))
    assert all(other == first for other in others)
    assert await positions(database_url) == list(range(1, 1 + 20 * 7 + 1))


async def test_a_process_killed_in_a_round_leaves_no_trace(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        await store.put_backup(PutBackup(backup(), cause()))
        with psycopg.connect(database_url) as killed:
            killed.execute(sequencer.LOCK)  # type: ignore[call-overload]  # constant
            assert killed.execute(sequencer.PLACE).fetchall() == [(1,)]  # type: ignore[call-overload]  # constant
            waiting = asyncio.create_task(store.events_after(0, 10))
            await _until_somebody_waits(database_url)
            assert not waiting.done()
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (killed.info.backend_pid,))
            (event,) = await waiting
            assert (event.position, event.event.backup_id) == (1, BACKUP_ID)
            killed.close()
        assert (await store.log_bounds()).newest == 1
    finally:
        await store.close()


async def _until_somebody_waits(url: str) -> None:
    waits = "SELECT 1 FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE NOT l.granted"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while await (await connection.execute(waits)).fetchone() is None:  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.01)


async def test_a_check_never_has_a_position_beyond_its_state(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        await store.put_backup(PutBackup(backup(), cause()))
        (sharing,) = await store.share(share(RECIPIENT))
        # No round has run since, so the check knows the sharing, but no position of it: a watch may repeat the event.
        checked = await store.check_access([(BACKUP_ID, RECIPIENT)])
        assert checked.accesses[0].sharing == sharing
        assert checked.position == 0
        await store.log_bounds()
        assert (await store.check_access([(BACKUP_ID, RECIPIENT)])).position == 2
    finally:
        await store.close()


async def test_a_quiet_store_runs_no_round(database_url: str) -> None:
    store = await open_postgres(database_url)
    try:
        await store.put_backup(PutBackup(backup(), cause()))
        await store.events_after(0, 10)
        async with await Connection.connect(database_url, autocommit=True) as blocker:
            await configure(blocker, 5, "on")
            async with blocker.transaction():
                await blocker.execute(sequencer.LOCK)
                assert len(await store.events_after(0, 10)) == 1
                # Nobody who writes waits for a round either.
                await store.share(share(RECIPIENT))
        assert len(await store.events_after(0, 10)) == 2
    finally:
        await store.close()


@contextmanager
def traced(connection: Connection, path: Path) -> Iterator[list[str]]:
    """Trace the messages of a connection; the list has F or B, the direction of each group of messages, at the end."""
    directions: list[str] = []
    with path.open("wb") as trace:
        connection.pgconn.trace(trace.fileno())
        yield directions
        connection.pgconn.untrace()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        way = next((word for word in line.split() if word in ("F", "B")), None)
        if way and directions[-1:] != [way]:
            directions.append(way)


async def test_a_page_takes_one_round_trip_and_a_round_too(database_url: str, tmp_path: Path) -> None:
    statement = "SELECT position FROM sharing_events"
    store = await open_postgres(database_url)
    try:
        await store.put_backup(PutBackup(backup(), cause()))
        async with await Connection.connect(database_url, autocommit=True) as connection:
            with traced(connection, tmp_path / "trace") as directions:
                assert await sequencer.read_in_order(connection, statement, {}) == [(1,)]
            assert directions == ["F", "B"] * 3
            with traced(connection, tmp_path / "trace") as directions:
                assert await sequencer.read_in_order(connection, statement, {}) == [(1,)]
            assert directions == ["F", "B"]
    finally:
        await store.close()
