"""Who waits for a change, and what is said when time is up: the commit and the refusal never both happen."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from server.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from server.store.waiter import Waiter
from server.timers import TICK_SECONDS, Timers

FAR = 1000.0


def passed() -> float:
    return time.monotonic() - 1


async def test_a_late_change_is_refused_and_cannot_be_committed() -> None:
    waiter = Waiter(Timers(), passed(), None, FAR)
    with pytest.raises(DeadlineTooClose):
        await waiter.answered
    assert not waiter.claim()
    assert waiter.is_given_up


async def test_a_claimed_change_is_never_told_that_nothing_is_stored() -> None:
    waiter = Waiter(Timers(), passed(), passed(), FAR)
    assert waiter.claim()
    with pytest.raises(OutcomeUnknown):
        await waiter.answered


async def test_the_answer_of_a_late_commit_is_told_if_it_comes_in_time() -> None:
    waiter = Waiter(Timers(), passed(), time.monotonic() + FAR, FAR)
    assert waiter.claim()
    await asyncio.sleep(2 * TICK_SECONDS)  # its time to commit is noticed to be over
    waiter.answer("stored")
    assert await waiter.answered == "stored"
    waiter.leave()


async def test_patience_that_ends_before_a_commit_says_nothing_was_stored() -> None:
    waiter = Waiter(Timers(), None, None, 0.0)
    with pytest.raises(Unavailable, match="nothing was stored"):
        await waiter.answered
    assert not waiter.claim()


async def test_a_reopened_change_that_is_late_by_now_is_refused() -> None:
    waiter = Waiter(Timers(), passed(), time.monotonic() + FAR, FAR)
    assert waiter.claim()
    waiter.reopen()
    with pytest.raises(DeadlineTooClose):
        await waiter.answered


async def test_a_caller_that_went_away_is_not_committed_for() -> None:
    waiter = Waiter(Timers(), None, None, FAR)
    waiter.answered.cancel()
    assert waiter.is_given_up
    assert not waiter.claim()
    waiter.leave()


async def test_of_a_claim_and_a_refusal_at_once_exactly_one_wins() -> None:
    async def race() -> tuple[bool, type[BaseException]]:
        waiter, begin = Waiter(Timers(), passed(), passed(), FAR), threading.Event()
        claimed: list[bool] = []
        thread = threading.Thread(target=lambda: (begin.wait(), claimed.append(waiter.claim())))
        thread.start()
        begin.set()
        (outcome,) = await asyncio.gather(waiter.answered, return_exceptions=True)
        await asyncio.to_thread(thread.join)
        return claimed[0], type(outcome)

    for _ in range(200):
        assert await race() in {(True, OutcomeUnknown), (False, DeadlineTooClose)}
