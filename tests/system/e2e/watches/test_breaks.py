"""Watches through killed gateways, servers and databases, while changes go on: each event once, in order."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.postgres.databases import new_database
from tests.support.postgres.server import PostgresServer
from tests.support.programs import Programs
from tests.system.e2e.watches.cluster import Cluster
from tests.system.e2e.watches.followers import Follower, RestFollower, Seen, following
from tests.system.e2e.watches.writers import Writers, writing

pytestmark = pytest.mark.resilience

KILL, DRAIN = signal.SIGKILL, signal.SIGTERM
ENDS = ((0, KILL), (1, DRAIN), (0, DRAIN), (1, KILL))
"""Which of two programs ends next, and how."""

RESTARTS = 2

_EVENTS = "SELECT {}, kind, sharing_id FROM sharing_events WHERE from_project_id = {} ORDER BY {}"


def stored(cluster: Cluster, postgres: str = "") -> list[Seen]:
    """Return the giver's events in the database at the URL, or in the file of the system."""
    if postgres:
        with psycopg.connect(postgres) as session:
            rows = session.execute(_EVENTS.format("position", "%s", "position"), (cluster.giver.id,)).fetchall()
    else:
        with closing(sqlite3.connect(cluster.system.folder / "sharings.db")) as connection:
            rows = connection.execute(_EVENTS.format("seq", "?", "seq"), (cluster.giver.id,)).fetchall()
    return [Seen(position, kind, sharing_id or "") for position, kind, sharing_id in rows]


class Breaks:
    """Followers and writers at work on a cluster."""

    def __init__(self, cluster: Cluster, followers: list[Follower], writers: Writers) -> None:
        self.cluster = cluster
        self.followers = followers
        self.writers = writers

    async def until_all_see_more(self) -> None:
        """Wait until each follower has seen some more events."""
        await asyncio.gather(*(follower.until_more() for follower in self.followers))

    async def until_all_end(self) -> None:
        """Wait until the watch of each follower has ended once more."""
        ended = {follower: follower.ended for follower in self.followers}
        for follower in self.followers:
            await follower.until(lambda follower: follower.ended > ended[follower])


@asynccontextmanager
async def under_changes(cluster: Cluster, postgres: str = "") -> AsyncIterator[Breaks]:
    """Follow while several write; at the end compare what each follower saw with what was acknowledged and stored.

    ``postgres``: URL of the database that holds the events at the end; without one, the file of the system.
    """
    async with following(cluster) as followers:
        async with writing(cluster) as writers:
            breaks = Breaks(cluster, followers, writers)
            await breaks.until_all_see_more()
            yield breaks
            await breaks.until_all_see_more()
        ends = {event for event in writers.acknowledged if event[0] == "expired"}
        await followers[0].until(lambda follower: ends <= {(event.kind, event.sharing_id) for event in follower.seen})
        last = await writers.share()
        for follower in followers:
            await follower.until(lambda follower: follower.seen[-1].sharing_id == last)
    expected = await asyncio.to_thread(stored, cluster, postgres)
    for follower in followers:
        assert follower.seen == expected, type(follower).__name__
    found = [(event.kind, event.sharing_id) for event in expected]
    assert {kind for kind, _ in writers.acknowledged} == {"shared", "cancelled", "expired"}
    assert writers.acknowledged <= set(found)
    assert len(set(found)) == len(found)


@pytest.fixture(params=["sqlite", "postgres"])
def cluster(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Cluster:
    postgres = request.getfixturevalue("database_url") if request.param == "postgres" else ""
    return Cluster(tmp_path, programs, postgres)


async def test_a_gateway_that_ends_costs_no_watch_an_event(cluster: Cluster) -> None:
    async with under_changes(cluster, cluster.system.postgres) as breaks:
        for number, how in ENDS:
            await cluster.end_gateway(number, how)
            await breaks.until_all_see_more()
            await cluster.start_gateway(number)
            await breaks.until_all_see_more()
    # Each follower over REST was at a gateway that ended, and later at the other one.
    assert all(follower.resumed >= 2 for follower in breaks.followers if isinstance(follower, RestFollower))


async def test_a_server_that_ends_costs_no_watch_an_event(cluster: Cluster) -> None:
    async with under_changes(cluster, cluster.system.postgres) as breaks:
        for number, how in ENDS:
            await cluster.end_server(number, how)
            await breaks.until_all_see_more()
            await cluster.start_server(number)
            await breaks.until_all_see_more()
    assert all(follower.resumed >= 1 for follower in breaks.followers)


async def test_a_restarted_database_costs_no_watch_an_event(
    own_postgres: PostgresServer, programs: Programs, tmp_path: Path
) -> None:
    cluster = Cluster(tmp_path, programs, new_database(own_postgres.url))
    async with under_changes(cluster, cluster.system.postgres) as breaks:
        for _ in range(RESTARTS):
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.to_thread(own_postgres.start)
            await breaks.until_all_see_more()


@pytest.fixture
def standby(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    return own_postgres.make_standby()


@contextmanager
def gone(server: PostgresServer, how: str) -> Iterator[None]:
    """Take a primary away."""
    if how == "frozen":
        with server.suspended():
            yield
        return
    server.stop() if how == "stopped" else server.kill()
    yield


@pytest.mark.parametrize("how", ["killed", "killed for long", "stopped", "frozen"])
async def test_a_switched_database_costs_no_watch_an_event(
    own_postgres: PostgresServer, standby: PostgresServer, programs: Programs, tmp_path: Path, how: str
) -> None:
    name = urlsplit(new_database(own_postgres.url)).path
    hosts = f"127.0.0.1:{own_postgres.port},127.0.0.1:{standby.port}"
    cluster = Cluster(tmp_path, programs, f"postgresql://postgres@{hosts}{name}")
    own = f"postgresql://postgres@127.0.0.1:{standby.port}{name}"
    with ExitStack() as stack:
        async with under_changes(cluster, own) as breaks:
            stack.enter_context(gone(own_postgres, how))
            if how == "killed for long":
                await breaks.until_all_end()
            await asyncio.to_thread(standby.promote)
            await breaks.until_all_see_more()
