"""Queued changes: when they are committed, and when they wait for more changes."""

from __future__ import annotations

import asyncio

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store.queue import ChangeQueue
from tests.store.commands import share

pytestmark = pytest.mark.asyncio

FOR_EVER = 3600.0


def queue(commit_delay: float = FOR_EVER) -> ChangeQueue:
    return ChangeQueue(max_waiting=100, max_batch=8, patience=FOR_EVER, commit_delay=commit_delay)


async def taken(queue: ChangeQueue) -> int:
    """Take a batch and answer its changes; return the size of the batch."""
    async with asyncio.timeout(60):
        batch = await queue.take()
    for waiting in batch:
        waiting.answer(())
    return len(batch)


def ask(queue: ChangeQueue, times: int) -> list[asyncio.Task[object]]:
    return [asyncio.create_task(queue.make(share())) for _ in range(times)]


async def test_a_caller_that_is_alone_waits_for_no_other() -> None:
    waiting = queue()
    for _ in range(5):
        (caller,) = ask(waiting, 1)
        assert await taken(waiting) == 1
        await caller


async def test_a_batch_waits_for_as_many_changes_as_came_before() -> None:
    waiting = queue()
    first = ask(waiting, 4)
    assert await taken(waiting) == 4
    taking = asyncio.create_task(taken(waiting))
    await asyncio.gather(*first)
    second = ask(waiting, 3)
    await asyncio.sleep(0.02)
    assert not taking.done()
    second += ask(waiting, 1)
    assert await taking == 4
    await asyncio.gather(*second)


async def test_fewer_callers_than_before_wait_no_longer_than_the_delay() -> None:
    waiting = queue(commit_delay=0.01)
    callers = ask(waiting, 8)
    assert await taken(waiting) == 8
    for _ in range(20):
        callers += ask(waiting, 1)
        assert await taken(waiting) == 1
    await asyncio.gather(*callers)


async def test_a_batch_waits_for_no_more_than_it_can_hold() -> None:
    waiting = queue()
    callers = ask(waiting, 32)
    assert [await taken(waiting) for _ in range(4)] == [8, 8, 8, 8]
    await asyncio.gather(*callers)


async def test_a_queue_that_is_stopped_waits_for_no_more_changes() -> None:
    waiting = queue()
    callers = ask(waiting, 4)
    assert await taken(waiting) == 4
    taking = asyncio.create_task(taken(waiting))
    await asyncio.gather(*callers)
    late = ask(waiting, 1)
    await asyncio.sleep(0.02)
    waiting.stop()
    assert await taking == 0
    with pytest.raises(Unavailable):
        await late[0]
