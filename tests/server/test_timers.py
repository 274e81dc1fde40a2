"""Timers that share one of the event loop: which run, in which order, and what is left of them."""

from __future__ import annotations

import asyncio
import time

from server.timers import Timers


async def test_timers_run_when_their_time_has_come_and_in_its_order() -> None:
    timers, ran, done = Timers(), list[float](), asyncio.Event()
    began = time.monotonic()
    for seconds in (0.06, 0.0, 0.03, -5.0):
        timers.at(began + seconds, lambda seconds=seconds: ran.append(seconds))  # type: ignore[misc] # bound now
    timers.at(began + 0.09, done.set)
    assert ran == []
    await done.wait()
    assert time.monotonic() >= began + 0.09
    assert sorted(ran[:2]) == [-5.0, 0.0]
    assert ran[2:] == [0.03, 0.06]


async def test_a_cancelled_timer_does_not_run() -> None:
    timers, ran, done = Timers(), list[str](), asyncio.Event()
    cancelled = timers.at(time.monotonic() + 0.02, lambda: ran.append("cancelled"))
    timers.at(time.monotonic() + 0.04, done.set)
    cancelled.cancel()
    cancelled.cancel()
    await done.wait()
    assert ran == []


async def test_a_timer_may_set_and_cancel_others() -> None:
    timers, ran, done = Timers(), list[str](), asyncio.Event()
    other = timers.at(time.monotonic() + 0.05, lambda: ran.append("other"))

    def first() -> None:
        other.cancel()
        timers.at(time.monotonic(), done.set)

    timers.at(time.monotonic(), first)
    await done.wait()
    assert ran == []


async def test_nothing_is_left_when_all_have_run_or_were_cancelled() -> None:
    timers, ended = Timers(), asyncio.Event()
    for _ in range(1000):
        timers.at(time.monotonic() + 1000.0, ended.set).cancel()
    timers.at(time.monotonic(), ended.set)
    await ended.wait()
    assert timers._due == {}
    assert timers._ticking is None
    ended.clear()
    timers.at(time.monotonic(), ended.set)
    await ended.wait()
