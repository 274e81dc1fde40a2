"""Cut connections, and a server that is restarted, killed or unavailable: nothing is lost, and calls recover."""

from __future__ import annotations

import asyncio
import time

import pytest

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.batched import BatchedStore
from tests.store.commands import BACKUP_ID, OTHER, RECIPIENT, backup, cause, share
from tests.store.faults import SLACK, Load, opened, sessions, stored_once, timed, until
from tests.store.opened import open_postgres
from tests.support.postgres.proxy import TcpProxy
from tests.support.postgres.server import PostgresServer

pytestmark = pytest.mark.resilience


async def test_sessions_ended_by_the_server_under_load_fail_no_call(own_postgres: PostgresServer) -> None:
    async with opened(own_postgres.url) as store:
        load = Load([store])
        await load.begin()
        for _ in range(10):
            await asyncio.to_thread(own_postgres.cut_connections)
            await load.more(20)
        await load.end()
    assert load.failures == []
    assert load.longest < 1 + SLACK
    stored_once(own_postgres.url, load.acknowledged)


async def test_connections_that_are_cut_under_load_fail_no_call(database_url: str, postgres_proxy: TcpProxy) -> None:
    async with opened(postgres_proxy.through(database_url)) as store:
        load = Load([store])
        await load.begin()
        for _ in range(30):
            await asyncio.to_thread(postgres_proxy.cut)
            await load.more(10)
        await load.end()
    assert load.failures == []
    assert load.longest < 1 + SLACK
    stored_once(database_url, load.acknowledged)


@pytest.mark.parametrize("end", ["fast", "immediate", "kill"])
async def test_a_restart_under_load_fails_no_call_if_it_is_short(own_postgres: PostgresServer, end: str) -> None:
    async with opened(own_postgres.url) as store:
        load = Load([store])
        await load.begin()
        await asyncio.to_thread(own_postgres.kill if end == "kill" else lambda: own_postgres.stop(end))
        await asyncio.to_thread(own_postgres.start)
        await load.more(50)
        await load.end()
    assert load.failures == []
    stored_once(own_postgres.url, load.acknowledged)


async def test_during_an_outage_calls_fail_in_time_and_then_go_on(own_postgres: PostgresServer) -> None:
    async with opened(own_postgres.url, patience=1.0) as store:
        tasks = len(asyncio.all_tasks())
        await asyncio.to_thread(own_postgres.kill)
        for _ in range(3):
            outcomes = await asyncio.gather(
                timed(store.ping()),
                timed(store.get_backup(BACKUP_ID)),
                timed(store.share(share())),
                timed(store.share(share(because=cause(commit_by=time.monotonic() + 0.3)))),
            )
            assert [type(outcome) for _, outcome in outcomes] == [Unavailable] * 3 + [DeadlineTooClose]
            for (seconds, _), longest in zip(outcomes, [0.5, 1.0, 1.0, 0.3], strict=True):
                assert seconds < longest + SLACK
        await asyncio.to_thread(own_postgres.start)
        waits = await asyncio.gather(
            until(store.ping), until(lambda: store.get_backup(BACKUP_ID)), until(lambda: store.share(share()))
        )
        assert max(waits) < SLACK
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) <= tasks + 4  # the pool's tasks for one connection
    stored_once(own_postgres.url, [])


@pytest.mark.parametrize("end", ["fast", "immediate", "kill"])
async def test_calls_of_a_server_known_to_be_away_are_not_stored(own_postgres: PostgresServer, end: str) -> None:
    async with opened(own_postgres.url, patience=0.5) as store:
        await asyncio.to_thread(own_postgres.kill if end == "kill" else lambda: own_postgres.stop(end))
        seconds, outcome = await timed(store.share(share()))
        assert "nothing was stored" in str(outcome)
        assert seconds < 0.5 + SLACK
    await asyncio.to_thread(own_postgres.start)


async def test_a_store_opened_during_an_outage_works_when_it_ends(
    own_postgres: PostgresServer,
) -> None:
    await asyncio.to_thread(own_postgres.stop)
    seconds, store = await timed(open_postgres(own_postgres.url, patience=1.0))
    assert isinstance(store, BatchedStore)
    assert seconds < 1 + SLACK
    for call in (store.ping(), store.get_backup(BACKUP_ID), store.share(share())):
        seconds, outcome = await timed(call)
        assert isinstance(outcome, Unavailable)
        assert "cannot be reached" in str(outcome)
        assert seconds < 0.5 + SLACK
    # This database never had any tables.
    await asyncio.to_thread(own_postgres.start)
    assert await until(lambda: store.put_backup(PutBackup(backup(), cause()))) < 1 + SLACK
    assert await until(store.ping) < SLACK
    await store.share(share())
    await store.close()


async def test_a_store_opened_on_a_frozen_network_works_when_it_thaws(
    database_url: str, postgres_proxy: TcpProxy
) -> None:
    postgres_proxy.freeze()
    seconds, store = await timed(open_postgres(postgres_proxy.through(database_url), patience=1.0))
    assert isinstance(store, BatchedStore)
    assert seconds < 6 + SLACK
    assert isinstance((await timed(store.ping()))[1], Unavailable)
    postgres_proxy.thaw()
    assert await until(lambda: store.put_backup(PutBackup(backup(), cause()))) < SLACK
    await store.close()


async def test_close_ends_while_the_server_is_away(own_postgres: PostgresServer) -> None:
    async with opened(own_postgres.url, patience=0.5) as store:
        await asyncio.to_thread(own_postgres.kill)
        waiting = [asyncio.create_task(timed(store.share(share(to)))) for to in (OTHER, RECIPIENT)]
        await asyncio.sleep(0.1)
        seconds, _ = await timed(store.close())
        assert seconds < 1 + SLACK
        assert all(isinstance(outcome, Unavailable) for _, outcome in await asyncio.gather(*waiting))
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == 1
    await asyncio.to_thread(own_postgres.start)


async def test_a_frozen_network_fails_calls_in_time_without_leaks(database_url: str, postgres_proxy: TcpProxy) -> None:
    async with opened(postgres_proxy.through(database_url), patience=3.0) as store:
        await store.get_backup(BACKUP_ID)
        postgres_proxy.freeze()
        outcomes = await asyncio.gather(
            timed(store.ping()),
            *(timed(store.get_backup(BACKUP_ID)) for _ in range(10)),
            timed(store.share(share())),
            timed(store.share(share(OTHER, because=cause(commit_by=time.monotonic() + 3.0)))),
        )
        assert [type(outcome) for _, outcome in outcomes] == [Unavailable] * 11 + [OutcomeUnknown] * 2
        assert max(seconds for seconds, _ in outcomes[:-2]) < 3 + SLACK
        assert outcomes[-2][0] < 8 + SLACK  # the commit may have succeeded, so the store waits longer
        assert outcomes[-1][0] < 4 + SLACK
        postgres_proxy.thaw()
        waits = await asyncio.gather(
            until(store.ping),
            until(lambda: store.get_backup(BACKUP_ID)),
            until(lambda: store.put_backup(PutBackup(backup(), cause()))),
        )
        assert max(waits) < SLACK
        await asyncio.sleep(1)
        assert sessions(database_url) <= 5
    await asyncio.sleep(0.5)
    assert len(asyncio.all_tasks()) == 1
    assert sessions(database_url) == 0
    stored_once(database_url, [])


async def test_a_server_silent_forever_is_left_for_a_new_connection(
    database_url: str, postgres_proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.store.postgres.engine._SILENT", 0.2)
    async with opened(postgres_proxy.through(database_url), patience=3.0) as store:
        # The proxy drops requests of the existing connection; those of new connections arrive.
        postgres_proxy.freeze()
        changing = asyncio.create_task(store.share(share()))
        await asyncio.sleep(3.5)
        postgres_proxy.thaw()
        await changing
        await store.share(share(OTHER))
    stored_once(database_url, [])


async def test_close_ends_on_a_frozen_network(database_url: str, postgres_proxy: TcpProxy) -> None:
    async with opened(postgres_proxy.through(database_url), patience=0.5) as store:
        postgres_proxy.freeze()
        calls = [
            asyncio.create_task(timed(call))
            for call in (store.share(share()), store.get_backup(BACKUP_ID), store.ping(), store.share(share(OTHER)))
        ]
        await asyncio.sleep(0.1)
        seconds, _ = await timed(store.close())
        assert seconds < 10 + SLACK
        await asyncio.gather(*calls)
        postgres_proxy.thaw()
    await asyncio.sleep(0.2)
    assert len(asyncio.all_tasks()) == 1


async def test_a_caller_who_leaves_does_not_wait_for_the_driver(database_url: str, postgres_proxy: TcpProxy) -> None:
    async with opened(postgres_proxy.through(database_url), patience=10 * SLACK) as store:
        postgres_proxy.freeze()
        reading = asyncio.create_task(store.get_backup(BACKUP_ID))
        sharing = asyncio.create_task(store.share(share()))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        for going in (reading, sharing):
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
        assert time.monotonic() - began < SLACK
        postgres_proxy.thaw()
        assert await until(lambda: store.get_backup(BACKUP_ID)) < SLACK
