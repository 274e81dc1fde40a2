"""The background task that records the ends of sharings, with a clock and pauses that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store.interface import Store, Swept
from backup_sharing.usecases.sharing import Caller, Sharings
from backup_sharing.usecases.sweeper import MOST_AT_ONCE, Sweeper
from tests.server.identities import NOW, SECOND, Clock, share


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

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if not self._results:
            raise Enough


async def pauses(*results: Swept | Exception) -> Sequence[float]:
    """Return the pauses of a sweeper with an interval of 60 s after these results."""
    store = Scripted(*results)
    with pytest.raises(Enough):
        await Sweeper(cast("Store", store), 60.0, store.sleep).run()
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

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        clock.pass_(seconds)
        if len(paused) == 2:
            raise Enough

    with pytest.raises(Enough):
        await Sweeper(store, 60.0, sleep).run()
    assert paused == [5.0, 60.0]
    assert await store.end_due(1) == Swept(0, None)


async def test_a_sweeper_ends_when_it_is_cancelled(store: Store) -> None:
    began = asyncio.Event()

    async def sleep(_: float) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Sweeper(store, 60.0, sleep).run())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
