"""Turns at something scarce, shared out by key: one that asks for much waits behind itself, not before the others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from types import TracebackType

from backup_sharing.errors import Overloaded

_REFUSAL = "The project has {most} calls waiting, the most it may; try again later."


class FairQueue:
    """Gives out turns. Waiters are served round robin by key, and in order of arrival within a key.

    For one event loop. A turn has a cost, in any unit. A turn that costs more than a bound is given when no other turn
    counts towards that bound, so that every waiter is served.
    """

    def __init__(self, *, slots: int, per_key: int, waiting_per_key: int, refusal: str = _REFUSAL) -> None:
        """Bound the turns.

        Args:
            slots: cost of all turns at one time.
            per_key: cost of the turns of one key at one time.
            waiting_per_key: waiters of one key; one more is `Overloaded`.
            refusal: what that says.
        """
        self._slots = slots
        self._per_key = per_key
        self._waiting_per_key = waiting_per_key
        self._refusal = refusal
        self._taken = 0
        self._keys: dict[str, _Key] = {}
        """Keys that have a turn or a waiter."""
        self._ready: OrderedDict[str, _Key] = OrderedDict()
        """Keys whose first waiter is within the bound of its key, in the order in which they are served."""

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a turn nor a waiter."""
        return not self._keys and not self._taken

    def turn(self, key: str, cost: int = 1) -> Turn:
        """Answer the context of a turn, for ``async with``.

        A turn that can be given at once is given without a pause. Entering raises `Overloaded` if too many wait.
        """
        return Turn(self, key, cost)

    def enter_now(self, name: str, cost: int) -> bool:
        """Take a turn if there is one at once and nobody waits for it; whoever has one gives it back with `leave`."""
        key = self._keys.get(name)
        if self._ready or (self._taken and self._taken + cost > self._slots):
            return False
        if key is None:
            key = self._keys[name] = _Key()
        elif key.waiting or not key.has_room(cost, self._per_key):
            return False
        self._taken += cost
        key.taken += cost
        return True

    async def wait(self, name: str, cost: int) -> None:
        """Wait for a turn that `enter_now` did not give.

        Raises:
            Overloaded: too many wait for turns of this key.
        """
        key = self._keys.get(name) or _Key()
        if len(key.waiting) >= self._waiting_per_key:
            raise Overloaded(self._refusal.format(most=self._waiting_per_key))
        self._keys[name] = key
        waiter = _Waiter(cost)
        key.waiting[waiter] = None
        self._line_up(name, key)
        try:
            await waiter.given
        except asyncio.CancelledError:
            if waiter.has_turn:  # given in the moment of the cancellation
                self.leave(name, cost)
            else:
                del key.waiting[waiter]
                self._changed(name, key)
            raise

    def leave(self, name: str, cost: int) -> None:
        """Give a turn back."""
        key = self._keys[name]
        self._taken -= cost
        key.taken -= cost
        if self._ready or key.waiting:
            self._changed(name, key)
        elif not key.taken:
            del self._keys[name]

    def _changed(self, name: str, key: _Key) -> None:
        """Serve the waiters that have become able to have a turn."""
        self._line_up(name, key)
        if not key.taken and not key.waiting:
            del self._keys[name]
        while self._ready:
            name, key = next(iter(self._ready.items()))
            waiter = next(iter(key.waiting))
            if self._taken and self._taken + waiter.cost > self._slots:
                return  # nobody overtakes it: otherwise small turns would keep a large one waiting for ever
            del self._ready[name], key.waiting[waiter]
            self._taken += waiter.cost
            key.taken += waiter.cost
            waiter.has_turn = True
            if not waiter.given.done():  # if cancelled, its task is still to run, and gives the turn back
                waiter.given.set_result(None)
            self._line_up(name, key)

    def _line_up(self, name: str, key: _Key) -> None:
        """Put a key behind the others that are ready, or leave it at its place, if its own bound has room."""
        if key.waiting and key.has_room(next(iter(key.waiting)).cost, self._per_key):
            self._ready.setdefault(name, key)
        else:
            self._ready.pop(name, None)


class Turn:
    """The context of one turn."""

    __slots__ = ("_cost", "_key", "_queue")

    def __init__(self, queue: FairQueue, key: str, cost: int) -> None:
        """Made by `FairQueue.turn`."""
        self._queue = queue
        self._key = key
        self._cost = cost

    async def __aenter__(self) -> None:
        if not self._queue.enter_now(self._key, self._cost):
            await self._queue.wait(self._key, self._cost)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.leave(self._key, self._cost)


class _Waiter:
    __slots__ = ("cost", "given", "has_turn")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_turn = False
        """Not the same as ``given.done()``, which a cancellation brings about too."""


class _Key:
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: OrderedDict[_Waiter, None] = OrderedDict()

    def has_room(self, cost: int, bound: int) -> bool:
        return not self.taken or self.taken + cost <= bound
