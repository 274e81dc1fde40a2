"""The background task that records the ends of sharings, with a clock and pauses that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.interface import Store, Swept
from backup_sharing.timers import Timer
from backup_sharing.usecases.sharing import Caller, Sharings
from backup_sharing.usecases.sweeper import MOST_AT_ONCE, SHORTEST_PAUSE, Sweeper
from tests.server.identities import NOW, SECOND, Clock, share
from tests.server.watching.fakes import ManualTimers


class Enough(BaseException):
    """Ends a sweeper after its last pause."""


class Scripted:
    """A store with given results, and the pauses of its sweeper."""

    def __init__(self, *results: Swept | Exception) -> None:
        self._results = list(results)
        self.limits: list[int] = []
        self.pauses: list[float] = []

    async def end_due(self, limit: int) -> Swept:
        self.limits.append(limit)
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.pauses.append(seconds)
        if not self._results:
            raise Enough
        return asyncio.get_running_loop().call_soon(callback)


async def pauses(*results: Swept | Exception) -> Sequence[float]:
    """Return the pauses of a sweeper with an interval of 60 s after these results."""
    store = Scripted(*results)
    with pytest.raises(Enough):
        await Sweeper(cast("Store", store), 60.0, Clock(), store.later).run()
    assert store.limits == [MOST_AT_ONCE] * len(results)
    return store.pauses


@pytest.mark.parametrize(
    ("swept", "pause"),
    [
        (Swept(0, None), 60.0),
        (Swept(3, None), 60.0),
        (Swept(0, 20 * SECOND), 20.0),
        (Swept(0, 90 * SECOND), 60.0),
        (Swept(3, SECOND // 100), 1.0),
        (Swept(MOST_AT_ONCE, -SECOND), 0.0),
        (Swept(0, -SECOND), 1.0),
    ],
)
async def test_the_next_look_is_when_the_next_sharing_ends(swept: Swept, pause: float) -> None:
    assert await pauses(swept) == [pause]


@pytest.mark.filterwarnings("error")
async def test_a_failure_is_told_once_and_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    down = Unavailable("The database cannot be reached.")
    assert await pauses(down, down, Swept(0, None), down) == [60.0] * 4
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "The database cannot be reached." in caplog.records[0].getMessage()


async def test_a_defect_is_told_and_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    assert await pauses(ValueError("defect"), Swept(0, None)) == [60.0] * 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_ends_are_recorded_when_their_time_has_come(
    store: Store, sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    await sharings.share(caller, replace(share(), expires_at=NOW + 5 * SECOND))
    paused: list[float] = []

    def later(seconds: float, callback: Callable[[], None]) -> Timer:
        paused.append(seconds)
        clock.pass_(seconds)
        if len(paused) == 2:
            raise Enough
        return asyncio.get_running_loop().call_soon(callback)

    with pytest.raises(Enough):
        await Sweeper(store, 60.0, clock, later).run()
    assert paused == [5.0, 60.0]
    assert await store.end_due(1) == Swept(0, None)


@pytest.fixture
async def sweeping(store: BatchedStore, clock: Clock) -> AsyncIterator[tuple[Sweeper, ManualTimers]]:
    """Yield a sweeper that has looked once and found nothing; it ends with the test."""
    timers = ManualTimers()
    sweeper = Sweeper(store, 60.0, clock, timers)
    store.hint_ends_to(sweeper.ends)
    task = asyncio.create_task(sweeper.run())
    await timers.set.wait()
    yield sweeper, timers
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not timers.waiting


def times(timers: ManualTimers) -> list[float]:
    return sorted(timer.seconds for timer in timers.waiting)


async def test_a_sharing_made_after_a_look_is_ended_in_time(
    sweeping: tuple[Sweeper, ManualTimers], store: Store, sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    _, timers = sweeping
    await sharings.share(caller, replace(share(), expires_at=NOW + 5 * SECOND))
    assert times(timers) == [5.0, 60.0]
    clock.pass_(5.0)
    timers.set.clear()
    timers.fire(5.0)
    await timers.set.wait()
    assert await store.end_due(1) == Swept(0, None)


async def test_only_an_end_before_the_next_look_sets_a_timer(sweeping: tuple[Sweeper, ManualTimers]) -> None:
    sweeper, timers = sweeping
    for seconds, expected in ((60, [60.0]), (30, [30.0, 60.0]), (40, [30.0, 60.0]), (20, [20.0, 60.0])):
        sweeper.ends(NOW + seconds * SECOND)
        assert times(timers) == expected


@pytest.mark.parametrize("left", [-5, 0, 0.5])
async def test_ends_that_come_at_once_are_looked_for_together(
    sweeping: tuple[Sweeper, ManualTimers], left: float
) -> None:
    sweeper, timers = sweeping
    sweeper.ends(NOW + round(left * SECOND))
    assert times(timers) == [SHORTEST_PAUSE, 60.0]


async def test_an_end_told_during_a_look_is_not_lost(clock: Clock) -> None:
    timers, looking, go_on = ManualTimers(), asyncio.Event(), asyncio.Event()

    class Slow:
        looks = 0

        async def end_due(self, limit: int) -> Swept:
            self.looks += 1
            looking.set()
            await go_on.wait()
            return Swept(0, None)

    store = Slow()
    sweeper = Sweeper(cast("Store", store), 60.0, clock, timers)
    task = asyncio.create_task(sweeper.run())
    await looking.wait()
    sweeper.ends(NOW + 5 * SECOND)
    timers.fire(5.0)
    looking.clear()
    go_on.set()
    await looking.wait()
    assert store.looks == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
