"""Timers that share one timer of the event loop: order, cancellation, and no leftovers."""

from __future__ import annotations

import asyncio
import time

from backup_sharing.timers import Timers


class Noted:
    """Record when the time is up."""

    def __init__(self, done: asyncio.Event | None = None, notes: list[str] | None = None, name: str = "") -> None:
        self.notes, self.name, self.done = notes if notes is not None else [], name, done

    def time_is_up(self) -> None:
        self.notes.append(self.name)
        if self.done is not None:
            self.done.set()


async def test_times_are_up_in_their_order_and_not_before() -> None:
    timers, notes, done = Timers(), list[str](), asyncio.Event()
    began = time.monotonic()
    for name, seconds in (("third", 0.06), ("first", 0.0), ("second", 0.03), ("first", -5.0)):
        timers.set(began + seconds, Noted(notes=notes, name=name))
    timers.set(began + 0.09, Noted(done))
    assert notes == []
    await done.wait()
    assert time.monotonic() >= began + 0.09
    assert notes == ["first", "first", "second", "third"]


async def test_a_cancelled_timer_is_never_up() -> None:
    timers, cancelled, done = Timers(), Noted(), asyncio.Event()
    tick = timers.set(time.monotonic() + 0.02, cancelled)
    timers.set(time.monotonic() + 0.04, Noted(done))
    timers.cancel(tick, cancelled)
    timers.cancel(tick, cancelled)
    await done.wait()
    assert cancelled.notes == []


async def test_what_is_up_may_set_another_timer() -> None:
    timers, done = Timers(), asyncio.Event()

    class Again:
        def time_is_up(self) -> None:
            timers.set(time.monotonic(), Noted(done))

    timers.set(time.monotonic(), Again())
    await done.wait()


async def test_nothing_is_left_when_all_are_up_or_cancelled() -> None:
    timers, ended = Timers(), asyncio.Event()
    for _ in range(1000):
        cancelled = Noted()
        timers.cancel(timers.set(time.monotonic() + 1000.0, cancelled), cancelled)
    timers.set(time.monotonic(), Noted(ended))
    await ended.wait()
    assert timers._due == {}
    assert timers._ticking is None
    ended.clear()
    timers.set(time.monotonic(), Noted(ended))
    await ended.wait()
