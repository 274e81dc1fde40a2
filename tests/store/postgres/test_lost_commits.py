"""Commits whose request or acknowledgement is lost on the network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown
from backup_sharing.rules.commands import OnConflict, PutBackup, RemoveBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    BACKUP_ID,
    OTHER,
    RECIPIENT,
    backup,
    cancel,
    cancel_all,
    cause,
    key,
    share,
)
from tests.store.engines import PostgresEngine
from tests.store.faults import SLACK, opened, stored_once, until
from tests.support.postgres.proxy import TcpProxy

pytestmark = pytest.mark.resilience

Change = Callable[[Store], Awaitable[object]]

CHANGES: dict[str, tuple[Change, list[str]]] = {
    "share in one round trip": (lambda store: store.share(share(OTHER)), ["shared"]),
    "share with a key": (lambda store: store.share(share(OTHER, idempotency=key())), ["shared"]),
    "share that reads first": (
        lambda store: store.share(share(OTHER, on_conflict=OnConflict.RETURN)),
        ["shared"],
    ),
    "cancel": (lambda store: store.cancel(cancel("existing")), ["cancelled"]),
    "cancel with a key": (lambda store: store.cancel(cancel("existing", idempotency=key())), ["cancelled"]),
    "cancel all": (lambda store: store.cancel_all(cancel_all()), ["cancelled"]),
    "put": (lambda store: store.put_backup(PutBackup(backup(name="other"), cause())), ["backup_put"]),
    "remove": (lambda store: store.remove_backup(RemoveBackup(BACKUP_ID, cause())), ["cancelled", "backup_removed"]),
}


@pytest.mark.parametrize("lost", ["answer", "request"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_whose_commit_is_lost_is_made_once_and_answered(
    database_url: str, postgres_proxy: TcpProxy, change: str, lost: str
) -> None:
    make, events = CHANGES[change]
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url)) as store:
        await store.share(share(RECIPIENT, sharing_ids=["existing"]))
        before = len(engine.events())
        lose = postgres_proxy.swallow_answers if lost == "answer" else postgres_proxy.swallow_requests
        lose(b"COMMIT", times=1)
        await make(store)
        assert postgres_proxy.lost == 1
    assert [event.kind for event in engine.events()[before:]] == events
    stored_once(database_url, [])


@pytest.mark.parametrize("lost", ["answer", "request"])
async def test_a_query_of_a_commits_fate_is_repeated_if_it_is_lost(
    database_url: str, postgres_proxy: TcpProxy, lost: str
) -> None:
    async with opened(postgres_proxy.through(database_url)) as store:
        lose = postgres_proxy.swallow_answers if lost == "answer" else postgres_proxy.swallow_requests
        lose(b"COMMIT", times=1)
        changing = asyncio.create_task(store.share(share(OTHER)))
        while not postgres_proxy.lost:  # noqa: ASYNC110 -- another thread sets it
            await asyncio.sleep(0)
        # The claim is stored and its reply is lost; the repeated query must not take the claim for the transaction.
        postgres_proxy.swallow_answers(b"claimed", times=1)
        acknowledged = await changing
        assert postgres_proxy.lost == 2
    stored_once(database_url, acknowledged)


@pytest.mark.parametrize(("lost", "count"), [("answer", 1), ("request", 0)])
async def test_a_change_whose_fate_is_not_known_in_time_says_so(
    database_url: str, postgres_proxy: TcpProxy, lost: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.store.waiter._OUTCOME_WAIT", 0.3)
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url), patience=3.0) as store:
        lose = postgres_proxy.swallow_answers if lost == "answer" else postgres_proxy.swallow_requests
        postgres_proxy.refuse()
        lose(b"COMMIT", times=1)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await store.share(share(OTHER))
        assert 3.0 < time.monotonic() - began < 3.3 + SLACK
        postgres_proxy.accept()
        # The decision about the commit does not change later.
        await until(lambda: store.share(share(RECIPIENT)))
        assert [sharing.to_project_id for sharing in engine.history()].count(OTHER) == count
    stored_once(database_url, [])


async def test_a_caller_hears_before_its_deadline_of_an_unknown_fate(
    database_url: str, postgres_proxy: TcpProxy
) -> None:
    async with opened(postgres_proxy.through(database_url)) as store:
        postgres_proxy.refuse()
        postgres_proxy.swallow_answers(b"COMMIT", times=1)
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            # The caller's deadline is one second after commit_by. DeadlineTooClose would mean that nothing was stored.
            await store.share(share(OTHER, because=cause(commit_by=began + 3.0)))
        assert time.monotonic() - began < 4.0 + SLACK
        postgres_proxy.accept()


async def test_what_is_sent_too_late_for_an_answer_is_never_stored(database_url: str, postgres_proxy: TcpProxy) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url)) as store:
        await store.share(share(RECIPIENT, sharing_ids=["existing"]))
        before = engine.events()
        postgres_proxy.delay(0.3)  # the reply to the read arrives after the deadline
        with pytest.raises(DeadlineTooClose):
            await store.cancel(cancel("existing", because=cause(commit_by=time.monotonic() + 0.4)))
        await asyncio.sleep(1.5)
        assert engine.events() == before


async def test_a_transaction_held_on_the_way_fails_if_it_arrives_late(
    database_url: str, postgres_proxy: TcpProxy
) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url)) as store:
        await store.share(share(RECIPIENT, sharing_ids=["existing"]))
        before = engine.events()
        postgres_proxy.delay(0.2)
        changing = asyncio.create_task(
            store.cancel(cancel("existing", because=cause(commit_by=time.monotonic() + 0.6)))
        )
        await asyncio.sleep(0.5)  # the read is done, the write is under way
        postgres_proxy.freeze()
        await asyncio.sleep(0.5)
        postgres_proxy.thaw()
        postgres_proxy.delay(0)
        with pytest.raises(DeadlineTooClose):
            await changing
        assert engine.events() == before


async def test_a_caller_who_leaves_during_an_outage_has_nothing_stored(
    database_url: str, postgres_proxy: TcpProxy
) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url)) as store:
        before = engine.events()
        postgres_proxy.refuse()
        postgres_proxy.cut()
        going = asyncio.create_task(store.share(share(OTHER)))
        staying = asyncio.create_task(store.share(share(RECIPIENT)))
        await asyncio.sleep(0.3)
        going.cancel()
        await asyncio.sleep(0.01)
        postgres_proxy.accept()
        await staying
        assert [event.to_project_id for event in engine.events()[len(before) :]] == [RECIPIENT]


async def test_only_so_many_marks_are_left_behind(database_url: str, postgres_proxy: TcpProxy) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(postgres_proxy.through(database_url)) as store:
        for number in range(100):
            if number in (30, 60):
                postgres_proxy.swallow_answers(b"COMMIT", times=1)
            await store.share(share(f"{number:032x}"))
            assert len(engine._rows("SELECT 1 FROM batches")) <= 33


async def test_marks_left_by_servers_are_removed_when_of_no_use(database_url: str) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(database_url) as store:
        await store.share(share())
    engine._rows("UPDATE batches SET made_at = now() - INTERVAL '2 days'")
    async with opened(database_url) as store:
        await store.share(share(OTHER))
        assert len(engine._rows("SELECT 1 FROM batches")) == 1
