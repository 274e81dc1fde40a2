"""Failover from a dead primary to a standby: acknowledged changes are on both servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from backup_sharing.errors import OutcomeUnknown, Unavailable
from backup_sharing.rules.commands import PutBackup
from tests.store.commands import BACKUP_ID, OTHER, RECIPIENT, backup, cause, share
from tests.store.engines import PostgresEngine
from tests.store.faults import SLACK, Load, opened, stored_once, timed, until
from tests.store.opened import open_postgres
from tests.support.postgres.server import PostgresServer

pytestmark = pytest.mark.resilience


@pytest.fixture
def standby(own_postgres: PostgresServer) -> Iterator[PostgresServer]:
    return own_postgres.make_standby()


def url_of(*servers: PostgresServer) -> str:
    """Return a URL with several servers."""
    places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{places}/postgres"


async def test_when_the_primary_dies_the_promoted_standby_is_used(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(url_of(own_postgres, standby), patience=10.0) as store:
        load = Load([store])
        await load.begin()
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(standby.promote)
        promoted = time.monotonic()
        await load.more(1)
        assert time.monotonic() - promoted < 1 + SLACK
        await load.more(50)
        await load.end()
        assert load.failures == []
        stored_once(standby.url, load.acknowledged)
        # The old primary returns without the later changes; the store stays with the new primary.
        await store.share(share(OTHER))
        await store.ping()


async def test_an_idle_store_finds_the_new_primary_after_the_switch(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(url_of(standby, own_postgres), patience=2.0) as store:
        await store.get_backup(BACKUP_ID)
        await asyncio.to_thread(own_postgres.kill)
        _, outcome = await timed(store.share(share()))
        assert isinstance(outcome, Unavailable)
        assert "nothing was stored" in str(outcome)
        assert isinstance((await timed(store.ping()))[1], Unavailable)
        await asyncio.to_thread(standby.promote)
        waits = await asyncio.gather(until(store.ping), until(lambda: store.share(share())))
        assert max(waits) < 1 + SLACK
    stored_once(standby.url, [])


async def test_a_standby_is_not_used_even_as_the_only_one_in_the_url(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(own_postgres.url) as store:
        await store.share(share())
    following = await open_postgres(standby.url, patience=0.5)
    for call in (following.ping(), following.get_backup(BACKUP_ID), following.share(share(OTHER))):
        seconds, outcome = await timed(call)
        assert isinstance(outcome, Unavailable)
        assert seconds < 0.5 + SLACK
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(standby.promote)
    assert await until(lambda: following.share(share(OTHER))) < 1 + SLACK
    assert await until(following.ping) < SLACK
    await following.close()


async def test_a_read_only_server_is_not_written_to_whatever_the_url(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(own_postgres.url):
        pass
    following = await open_postgres(f"{standby.url}?target_session_attrs=any", patience=0.5)
    seconds, outcome = await timed(following.share(share()))
    assert isinstance(outcome, Unavailable)
    assert seconds < 0.5 + SLACK
    await following.close()


async def test_while_the_standby_is_away_nothing_is_acknowledged(
    own_postgres: PostgresServer, standby: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.store.postgres.engine._SILENT", 0.2)
    monkeypatch.setattr("backup_sharing.store.waiter._OUTCOME_WAIT", 0.3)
    async with opened(own_postgres.url, patience=0.5) as store:
        await asyncio.to_thread(standby.stop, "immediate")
        _, outcome = await timed(store.share(share()))
        assert isinstance(outcome, OutcomeUnknown)
        for _ in range(4):
            seconds, outcome = await timed(store.share(share(OTHER)))
            assert isinstance(outcome, Unavailable)
            assert "nothing was stored" in str(outcome)
            assert seconds < 0.5 + SLACK
        with pytest.raises(Unavailable):
            await store.ping()
        count = own_postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backup-sharing'")
        assert count[0][0] <= 4
        await asyncio.to_thread(standby.start)
        acknowledged = [await store.share(share(RECIPIENT + "2"))] if await until(store.ping) < 7 + SLACK else []
        assert acknowledged
    stored_once(own_postgres.url, [])
    assert OTHER not in {sharing.to_project_id for sharing in PostgresEngine(own_postgres.url, None).history()}


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_ended_during_sync_wait_is_not_acknowledged(
    own_postgres: PostgresServer, standby: PostgresServer, end: str
) -> None:
    async with opened(own_postgres.url, patience=10.0) as store:
        await asyncio.to_thread(standby.stop, "immediate")
        sharing = asyncio.create_task(store.share(share()))
        waiting: list[tuple[int]] = []
        while not waiting:
            await asyncio.sleep(0.05)
            waiting = own_postgres.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        own_postgres.execute(
            "SELECT CASE WHEN %s THEN pg_cancel_backend(%s) ELSE pg_terminate_backend(%s) END",
            end == "pg_cancel_backend",
            waiting[0][0],
            waiting[0][0],
        )
        await asyncio.sleep(0.7)
        # PostgreSQL has committed the change, and would report success to the client.
        assert len(PostgresEngine(own_postgres.url, None).history()) == 1
        assert not sharing.done()
        await asyncio.to_thread(standby.start)
        acknowledged = await sharing
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(standby.promote)
    stored_once(standby.url, acknowledged)


async def test_an_old_primary_that_returns_alone_acknowledges_nothing(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(url_of(own_postgres, standby), patience=2.0) as store:
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(standby.promote)
        await until(lambda: store.share(share(OTHER)))
        # The old server acts as primary, and its commits wait for a standby that has left it.
        await asyncio.to_thread(own_postgres.start)
        old = await open_postgres(own_postgres.url, patience=2.0)
        _, outcome = await timed(old.put_backup(PutBackup(backup(name="late"), cause())))
        assert isinstance(outcome, OutcomeUnknown | Unavailable)  # the latter if it was too slow to begin a commit
        await old.close()
        # The store keeps its existing connection.
        await store.share(share(RECIPIENT))
    assert [sharing.to_project_id for sharing in PostgresEngine(standby.url, None).history()].count(RECIPIENT) == 1


async def test_a_frozen_primary_is_left_for_the_promoted_standby(
    own_postgres: PostgresServer, standby: PostgresServer
) -> None:
    async with opened(url_of(own_postgres, standby), patience=1.0) as store:
        await store.get_backup(BACKUP_ID)
        with own_postgres.suspended():
            await asyncio.to_thread(standby.promote)
            waits = await asyncio.gather(
                until(store.ping, 15),
                until(lambda: store.share(share()), 15),
                until(lambda: store.get_backup(BACKUP_ID), 15),
            )
            # Each new connection tries the old primary first, which accepts it and never replies.
            assert max(waits) < 9
    stored_once(standby.url, [])
