"""The background task that deletes old events and ended sharings, with pauses that tests see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store.interface import Retention, Store
from backup_sharing.usecases.purger import MOST_AT_ONCE, PAUSE, Purger
from backup_sharing.usecases.sharing import Caller, Sharings
from tests.server.identities import NOW, RECIPIENT, SECOND, Clock, cancel, share

HOUR = 3600 * SECOND
LATEST = 60.0


class Enough(BaseException):
    """Ends a purger after its last pause."""


class Scripted:
    """A store with given results, the times before which rows were deleted, and the pauses of its purger."""

    def __init__(self, events: Sequence[int | Exception] = (), sharings: Sequence[int | Exception] = ()) -> None:
        self._events, self._sharings = list(events), list(sharings)
        self.befores: list[int] = []
        self.pauses: list[float] = []

    async def time(self) -> int:
        return NOW

    async def purge_events(self, before: int, limit: int) -> int:
        return self._next(self._events, before, limit)

    async def purge_sharings(self, before: int, limit: int) -> int:
        return self._next(self._sharings, before, limit)

    def _next(self, results: list[int | Exception], before: int, limit: int) -> int:
        assert limit == MOST_AT_ONCE
        self.befores.append(before)
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if not self._events and not self._sharings:
            raise Enough

    async def run(self, keep_events: int, keep_sharings: int) -> None:
        """Run a purger until all results are used."""
        with pytest.raises(Enough):
            await Purger(cast("Retention", self), keep_events, keep_sharings, self.sleep).run()


async def test_each_kind_is_kept_as_long_as_its_setting_says() -> None:
    store = Scripted([0], [0])
    await store.run(2 * HOUR, 3 * HOUR)
    assert store.befores == [NOW - 2 * HOUR, NOW - 3 * HOUR]


@pytest.mark.parametrize(("keep", "kept"), [((2 * HOUR, 0), 2 * HOUR), ((0, 3 * HOUR), 3 * HOUR)])
async def test_zero_keeps_for_ever(keep: tuple[int, int], kept: int) -> None:
    store = Scripted(*([0] if each else () for each in keep))
    await store.run(*keep)
    assert store.befores == [NOW - kept]


async def test_callers_get_their_turn_between_two_deletions(caplog: pytest.LogCaptureFixture) -> None:
    store = Scripted([MOST_AT_ONCE, MOST_AT_ONCE, 3, 0, 0])
    with caplog.at_level("INFO"):
        await store.run(2 * HOUR, 0)
    assert store.pauses == [PAUSE, PAUSE, PAUSE, LATEST, LATEST]
    assert [record.getMessage() for record in caplog.records] == [f"deleted old events: {2 * MOST_AT_ONCE + 3}"]


@pytest.mark.parametrize(
    ("keep", "pause"),
    [((HOUR, 0), 36.0), ((0, HOUR), 36.0), ((9 * HOUR, HOUR), 36.0), ((1, 0), 1.0), ((HOUR * 9, 0), 60)],
)
async def test_a_short_time_to_keep_needs_more_looks(keep: tuple[int, int], pause: float) -> None:
    store = Scripted(*([0] if each else () for each in keep))
    await store.run(*keep)
    assert store.pauses == [pause]


@pytest.mark.filterwarnings("error")
async def test_a_failure_is_told_once_and_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    down = Unavailable("The database cannot be reached.")
    store = Scripted([down, down, 0, down])
    await store.run(2 * HOUR, 0)
    assert store.pauses == [LATEST] * 4
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "The database cannot be reached." in caplog.records[0].getMessage()


async def test_a_defect_is_told_and_the_task_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    store = Scripted([ValueError("defect"), 0])
    await store.run(2 * HOUR, 0)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_old_rows_go_when_their_time_has_come(
    store: Store, sharings: Sharings, caller: Caller, clock: Clock
) -> None:
    (sharing,) = await sharings.share(caller, share(RECIPIENT))
    clock.pass_(10)
    await sharings.cancel(caller, cancel(sharing.id))
    found: list[tuple[int, int]] = []

    async def sleep(seconds: float) -> None:
        if seconds == PAUSE:
            return
        found.append((len(await store.events_after(0, 10)), len(await store.old_sharings(NOW + HOUR, 10))))
        clock.pass_(3600)
        if len(found) == 4:
            raise Enough

    with pytest.raises(Enough):
        await Purger(store, HOUR, 2 * HOUR, sleep).run()
    # At the second look, the cancellation is exactly as old as events may become.
    assert found == [(5, 1), (1, 1), (0, 1), (0, 0)]


async def test_a_purger_ends_when_it_is_cancelled(store: Store) -> None:
    began = asyncio.Event()

    async def sleep(_: float) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Purger(store, HOUR, 0, sleep).run())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
