"""The fair queue: the limit of turns, the order of keys, and no lost turn when a waiter leaves."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_sharing.errors import Overloaded
from backup_sharing.fair_queue import FairQueue
from tests.support.effort import cases

SLOTS, PER_KEY, WAITING = 4, 2, 3


class Room:
    """Callers that take a turn, and hold it until `go` or `close`."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.served: list[str] = []
        """Keys in the order of their turns."""
        self.inside: dict[str, list[int]] = defaultdict(list)
        """Costs of the current turns of each key."""
        self.callers: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    async def enter(self, key: str, cost: int = 1) -> int:
        """Start a caller, and let it run until it waits; return its number."""
        go = asyncio.Event()
        self.callers.append((asyncio.create_task(self._stay(key, cost, go)), go))
        await settled()
        return len(self.callers) - 1

    async def go(self, number: int) -> None:
        self.callers[number][1].set()
        await settled()

    async def close(self) -> None:
        for task, _ in self.callers:
            task.cancel()
        await asyncio.gather(*(task for task, _ in self.callers), return_exceptions=True)

    async def _stay(self, key: str, cost: int, go: asyncio.Event) -> None:
        async with self.queue.turn(key, cost):
            self.served.append(key)
            self.inside[key].append(cost)
            try:
                await go.wait()
            finally:
                self.inside[key].remove(cost)


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def room() -> Room:
    return Room(FairQueue(slots=SLOTS, per_key=PER_KEY, waiting_per_key=WAITING))


async def test_a_turn_that_is_free_is_given_without_a_pause() -> None:
    queue = FairQueue(slots=1, per_key=1, waiting_per_key=0)
    entering = queue.turn("a").__aenter__()
    with pytest.raises(StopIteration):
        entering.send(None)


async def test_a_key_never_has_more_turns_than_it_may(room: Room) -> None:
    for _ in range(PER_KEY + WAITING):
        await room.enter("a")
    assert room.inside["a"] == [1] * PER_KEY
    await room.enter("b")
    assert room.inside["b"] == [1]
    await room.close()


async def test_one_waiter_too_many_of_a_key_is_refused_at_once(room: Room) -> None:
    for _ in range(PER_KEY + WAITING):
        await room.enter("a")
    task, _ = room.callers[await room.enter("a")]
    with pytest.raises(Overloaded, match="3 calls waiting"):
        await task
    await room.enter("b")
    assert room.inside["b"] == [1]
    await room.close()
    assert room.queue.is_idle


async def test_waiters_are_served_by_key_in_turn_not_by_arrival() -> None:
    room = Room(FairQueue(slots=1, per_key=1, waiting_per_key=10))
    for key in ("a", "a", "a", "a", "b", "b", "c"):
        await room.enter(key)
    for number in (0, 4, 6, 1, 5, 2, 3):
        await room.go(number)
    assert room.served == ["a", "b", "c", "a", "b", "a", "a"]
    assert room.queue.is_idle


async def test_a_newcomer_does_not_overtake_those_that_wait() -> None:
    room = Room(FairQueue(slots=4, per_key=4, waiting_per_key=10))
    await room.enter("a", 3)
    await room.enter("b", 3)
    await room.enter("c", 1)
    assert room.served == ["a"]
    await room.go(0)
    assert room.served == ["a", "b", "c"]
    await room.close()


async def test_a_small_turn_does_not_overtake_a_large_one_of_its_key() -> None:
    room = Room(FairQueue(slots=10, per_key=4, waiting_per_key=10))
    await room.enter("a", 3)
    await room.enter("a", 3)
    small = await room.enter("a", 1)
    assert room.inside["a"] == [3]
    await room.go(0)
    assert room.inside["a"] == [3, 1]
    await room.go(small)
    await room.close()


async def test_a_turn_that_costs_more_than_there_is_comes_alone() -> None:
    room = Room(FairQueue(slots=4, per_key=2, waiting_per_key=10))
    await room.enter("a", 1)
    await room.enter("b", 9)
    await room.enter("c", 1)
    assert room.served == ["a"]
    await room.go(0)
    assert room.served == ["a", "b"]
    await room.go(1)
    assert room.served == ["a", "b", "c"]
    await room.close()
    assert room.queue.is_idle


async def test_a_waiter_that_goes_makes_way_for_the_next() -> None:
    room = Room(FairQueue(slots=4, per_key=4, waiting_per_key=10))
    await room.enter("a", 3)
    large = await room.enter("b", 4)
    await room.enter("c", 1)
    room.callers[large][0].cancel()
    await settled()
    assert room.served == ["a", "c"]
    await room.close()
    assert room.queue.is_idle


async def test_a_waiter_that_goes_does_not_cost_its_key_its_place() -> None:
    room = Room(FairQueue(slots=1, per_key=1, waiting_per_key=10))
    for key in ("a", "b", "b", "c"):
        await room.enter(key)
    room.callers[1][0].cancel()
    await settled()
    await room.go(0)
    assert room.served == ["a", "b"]
    await room.close()


@pytest.mark.parametrize("when", ["before it is given", "as it is given", "before its task knows"])
async def test_a_turn_given_to_a_cancelled_waiter_is_not_lost(when: str) -> None:
    room = Room(FairQueue(slots=1, per_key=1, waiting_per_key=10))
    for key in ("a", "b", "c"):
        await room.enter(key)
    (first, leave), (waiter, _), _ = room.callers
    if when == "before it is given":
        waiter.cancel()
    leave.set()
    if when == "as it is given":
        waiter.cancel()
    elif when == "before its task knows":
        asyncio.get_running_loop().call_soon(waiter.cancel)
    await settled()
    await first
    assert waiter.cancelled()
    assert room.served == ["a", "c"]
    await room.close()
    assert room.queue.is_idle


async def test_a_waiter_that_is_timed_out_leaves_the_queue() -> None:
    queue = FairQueue(slots=1, per_key=1, waiting_per_key=1)
    async with queue.turn("a"):
        for key in ("b", "a"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await queue.turn(key).__aenter__()
    assert queue.is_idle


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from("abc"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["go", "cancel"]), st.integers(0, 40), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=cases(300), deadline=None)
@given(STEPS)
def test_no_schedule_breaks_a_bound_starves_or_leaks(steps: list[tuple[str, object, object]]) -> None:
    asyncio.run(_any_schedule(steps))


async def _any_schedule(steps: list[tuple[str, object, object]]) -> None:
    room = Room(FairQueue(slots=SLOTS, per_key=PER_KEY, waiting_per_key=20))
    for kind, what, more in steps:
        if kind == "enter":
            assert isinstance(what, str)
            assert isinstance(more, int)
            await room.enter(what, more)
        elif room.callers:
            assert isinstance(what, int)
            task, go = room.callers[what % len(room.callers)]
            go.set() if kind == "go" else task.cancel()
            if more:  # otherwise the next step runs without a pause
                await settled()
        for turns in room.inside.values():
            assert sum(turns) <= PER_KEY or len(turns) == 1
        all_turns = [cost for turns in room.inside.values() for cost in turns]
        assert sum(all_turns) <= SLOTS or len(all_turns) == 1
    for _, go in room.callers:
        go.set()
    # Every caller gets a turn or has been cancelled.
    async with asyncio.timeout(60):
        await asyncio.gather(*(task for task, _ in room.callers), return_exceptions=True)
    assert room.queue.is_idle
