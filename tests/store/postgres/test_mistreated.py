"""Several stores on a server with random faults: every acknowledged change is stored exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pytest

from backup_sharing.errors import Failure, OutcomeUnknown
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import NOW, backup, backup_id, cancel, cancel_all, cause, key, project_id, share
from tests.store.engines import PostgresEngine
from tests.store.faults import SLACK, opened, stored_once, timed, until
from tests.support.postgres.proxy import TcpProxy, address_of
from tests.support.postgres.server import PostgresServer

pytestmark = pytest.mark.resilience

SECONDS = float(os.environ.get("BACKUP_SHARING_TEST_MISTREATED", "8"))
"""Duration of the test in seconds; default 8."""


@dataclass(slots=True)
class Outcomes:
    """The outcomes that callers got."""

    acknowledged: list[Sharing] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Ids of the sharings that failed with the statement that nothing was stored."""
    unknown: int = 0
    longest: float = 0.0


async def call_again_and_again(
    store: Store, random: random.Random, is_over: Callable[[], bool], outcomes: Outcomes
) -> None:
    """Change a few backups until ``is_over``, and record the outcomes."""
    while not is_over():
        about, at, sharing_id = backup_id(random.randrange(1, 6)), cause(NOW + random.randrange(1000)), str(uuid4())
        if random.random() < 0.3:
            at = replace(at, commit_by=time.monotonic() + random.random())
        existing = [sharing.id for sharing in outcomes.acknowledged if sharing.deleted_at is None] or ["none"]
        idempotency = key(str(random.randrange(10**6)), b"") if random.random() < 0.5 else None
        match random.randrange(10):
            case 0:
                call = store.cancel_all(cancel_all(about, because=at))
            case 1 | 2:
                call = store.cancel(cancel(random.choice(existing), because=at))
            case _:
                to = project_id(random.randrange(10**6))
                call = store.share(
                    share(to, backup_id=about, because=at, sharing_ids=[sharing_id], idempotency=idempotency)
                )
        seconds, outcome = await timed(call)
        outcomes.longest = max(outcomes.longest, seconds)
        if isinstance(outcome, list):
            outcomes.acknowledged += outcome
        elif isinstance(outcome, OutcomeUnknown):
            outcomes.unknown += 1
        else:
            assert isinstance(outcome, Failure), outcome
            outcomes.refused.add(sharing_id)
        await asyncio.sleep(random.random() / 50)


async def mistreat(server: PostgresServer, proxy: TcpProxy, random: random.Random) -> None:
    match random.randrange(7):
        case 0:
            await asyncio.to_thread(proxy.cut)
        case 1:
            proxy.swallow_answers(b"COMMIT", times=random.randrange(1, 3))
        case 2:
            proxy.swallow_requests(b"COMMIT", times=random.randrange(1, 3))
        case 3:
            await asyncio.to_thread(proxy.freeze)
            await asyncio.sleep(random.random())
            await asyncio.to_thread(proxy.thaw)
        case 4:
            await asyncio.to_thread(server.cut_connections)
        case 5:
            end = random.choice([server.kill, server.stop, lambda: server.stop("immediate")])
            await asyncio.to_thread(end)
            await asyncio.sleep(random.random() / 2)
            await asyncio.to_thread(server.start)
        case _:
            with server.suspended():
                await asyncio.sleep(random.random())


async def test_whatever_happens_what_is_acknowledged_is_stored_once(own_postgres: PostgresServer) -> None:
    chance, is_over, outcomes = random.Random(7), False, Outcomes()  # noqa: S311 -- no secret
    async with AsyncExitStack() as stack:
        proxy = stack.enter_context(TcpProxy(address_of(own_postgres.url)))
        url = proxy.through(own_postgres.url)
        stores = [await stack.enter_async_context(opened(url, patience=1.0)) for _ in range(3)]
        for number in range(1, 6):
            await until(lambda number=number: stores[0].put_backup(PutBackup(backup(backup_id(number)), cause())))
        callers = [
            asyncio.create_task(call_again_and_again(stores[n % 3], random.Random(n), lambda: is_over, outcomes))  # noqa: S311
            for n in range(15)
        ]
        end = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < end:
            await mistreat(own_postgres, proxy, chance)
            await asyncio.sleep(chance.random() / 2)
        proxy.swallow_nothing()
        put = PutBackup(backup(), cause())
        waits = await asyncio.gather(
            *(until(lambda number=number: stores[number].put_backup(put)) for number in range(3))
        )
        is_over = True
        await asyncio.gather(*callers)
    assert len(outcomes.acknowledged) > 100
    assert max(waits) < SLACK
    assert outcomes.longest < 5 + SLACK
    stored_once(own_postgres.url, outcomes.acknowledged)
    history = {sharing.id: sharing for sharing in PostgresEngine(own_postgres.url, None).history()}
    assert not outcomes.refused & history.keys()
    ended = [sharing.id for sharing in outcomes.acknowledged if sharing.deleted_at is not None]
    assert all(history[sharing_id].deleted_at is not None for sharing_id in ended)
    assert "deadlock detected" not in own_postgres.log
