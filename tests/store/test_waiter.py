"""Callers that wait for a change: at its deadline a change is either committed or refused, never both."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from backup_sharing.store.waiter import Waiter, Waiters, claim
from backup_sharing.timers import TICK_SECONDS

FAR = 1000.0


def passed() -> float:
    return time.monotonic() - 1


def waiter(commit_by: float | None, answer_by: float | None, patience: float) -> Waiter:
    return Waiter(Waiters(patience), commit_by, answer_by)


async def test_a_late_change_is_refused_and_cannot_be_committed() -> None:
    waiting = waiter(passed(), None, FAR)
    with pytest.raises(DeadlineTooClose):
        await waiting.answered
    assert not claim([waiting])
    assert waiting.is_given_up


async def test_a_claimed_change_is_never_told_that_nothing_is_stored() -> None:
    waiting = waiter(passed(), passed(), FAR)
    assert claim([waiting])
    with pytest.raises(OutcomeUnknown):
        await waiting.answered


async def test_the_answer_of_a_late_commit_is_told_if_it_comes_in_time() -> None:
    waiting = waiter(passed(), time.monotonic() + FAR, FAR)
    assert claim([waiting])
    await asyncio.sleep(2 * TICK_SECONDS)  # the store notices that the commit time has passed
    waiting.answer("stored")
    assert await waiting.answered == "stored"
    waiting.leave()


async def test_patience_ending_before_a_commit_stores_nothing() -> None:
    waiting = waiter(None, None, 0.0)
    with pytest.raises(Unavailable, match="nothing was stored"):
        await waiting.answered
    assert not claim([waiting])


async def test_a_reopened_change_that_is_late_by_now_is_refused() -> None:
    waiting = waiter(passed(), time.monotonic() + FAR, FAR)
    assert claim([waiting])
    waiting.reopen()
    with pytest.raises(DeadlineTooClose):
        await waiting.answered


async def test_a_caller_that_went_away_is_not_committed_for() -> None:
    waiting = waiter(None, None, FAR)
    waiting.answered.cancel()
    assert waiting.is_given_up
    assert not claim([waiting])
    waiting.leave()


async def test_of_a_claim_and_a_refusal_at_once_exactly_one_wins() -> None:
    async def race() -> tuple[bool, type[BaseException]]:
        waiting, begin = waiter(passed(), passed(), FAR), threading.Event()
        claimed: list[bool] = []
        thread = threading.Thread(target=lambda: (begin.wait(), claimed.append(claim([waiting]))))
        thread.start()
        begin.set()
        (outcome,) = await asyncio.gather(waiting.answered, return_exceptions=True)
        await asyncio.to_thread(thread.join)
        return claimed[0], type(outcome)

    for _ in range(200):
        assert await race() in {(True, OutcomeUnknown), (False, DeadlineTooClose)}
