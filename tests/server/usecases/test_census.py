"""The background count of backups and sharings, with a clock and pauses that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store.listing import Counted, Part
from backup_sharing.usecases.census import PART, PAUSE, TURN, Census

BACKUPS, SHARINGS = Counted.BACKUPS, Counted.SHARINGS


class Enough(BaseException):
    """Ends a census."""


class Scripted:
    """A store with this many rows, whose reads take a second each, and the pauses and turns of its census."""

    def __init__(self, rows: Mapping[Counted, int], rounds: int = 1) -> None:
        self.rows = dict(rows)
        self.rounds = rounds
        self.failing: Sequence[Exception] = ()
        self.now = 0.0
        self.pauses: list[float] = []
        self.turns: list[str] = []
        self._has_turn = False

    async def count_part(self, counted: Counted, after: str, limit: int) -> Part:
        assert self._has_turn
        assert limit == PART
        if self.failing:
            failure, *self.failing = self.failing
            raise failure
        self.now += 1
        start = int(after or "0")
        rows = min(limit, self.rows[counted] - start)
        return Part(rows, str(start + rows) if rows else "")

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        self.turns.append(key)
        self._has_turn = True
        try:
            yield
        finally:
            self._has_turn = False

    async def sleep(self, seconds: float) -> None:
        assert not self._has_turn
        self.pauses.append(seconds)
        self.now += seconds
        if self.pauses.count(PAUSE) == self.rounds:
            raise Enough

    async def run(self) -> Census:
        census = Census(self, self.turn, monotonic=lambda: self.now, sleep=self.sleep)
        with pytest.raises(Enough):
            await census.run()
        return census


@pytest.mark.parametrize("number", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 7])
async def test_every_row_is_counted_once(number: int) -> None:
    census = await Scripted({BACKUPS: number, SHARINGS: 2 * number}).run()
    assert (census.number(BACKUPS), census.number(SHARINGS)) == (number, 2 * number)


async def test_nothing_is_known_before_the_first_count() -> None:
    census = Census(Scripted({}), Scripted({}).turn)
    assert [(census.number(one), census.age(one)) for one in Counted] == [(None, None)] * 2


async def test_parts_take_a_twentieth_of_a_readers_time() -> None:
    store = Scripted({BACKUPS: 2 * PART + 1, SHARINGS: 0})
    await store.run()
    assert store.pauses == [pytest.approx(20.0)] * 2 + [PAUSE]


async def test_each_part_takes_a_turn_among_other_reads() -> None:
    store = Scripted({BACKUPS: 2 * PART + 1, SHARINGS: 0})
    await store.run()
    assert store.turns == [TURN] * 4


async def test_a_count_grows_older_until_the_next() -> None:
    store = Scripted({BACKUPS: 3, SHARINGS: 4})
    census = await store.run()
    assert (census.age(BACKUPS), census.age(SHARINGS)) == (PAUSE + 1, PAUSE)


@pytest.mark.parametrize("failure", [Unavailable("The store cannot be used now."), ZeroDivisionError()])
async def test_a_failed_count_keeps_the_last_and_is_repeated(failure: Exception) -> None:
    store = Scripted({BACKUPS: 3, SHARINGS: 4}, rounds=2)
    census = await store.run()
    store.rounds, store.failing, store.rows = 3, [failure, failure], {BACKUPS: 30, SHARINGS: 40}
    with pytest.raises(Enough):
        await census.run()
    assert (census.number(BACKUPS), census.number(SHARINGS)) == (3, 4)
    assert census.age(SHARINGS) == 2 * PAUSE
    store.rounds = 4
    with pytest.raises(Enough):
        await census.run()
    assert (census.number(BACKUPS), census.number(SHARINGS)) == (30, 40)
