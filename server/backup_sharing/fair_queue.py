"""A fair queue: turns at a scarce resource are shared by key, so that a busy key delays only itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from types import TracebackType

from backup_sharing.errors import Overloaded

_REFUSAL = "The project has {most} calls waiting, the most it may; try again later."


class FairQueue:
    """Grants turns. Waiters are served round robin by key, and first come, first served within a key.

    A queue belongs to one event loop. A turn has a cost, in any unit. A turn whose cost exceeds a bound is granted when
    no other turn counts towards that bound, so every waiter is served in the end.
    """

    def __init__(self, *, slots: int, per_key: int, waiting_per_key: int, refusal: str = _REFUSAL) -> None:
        """Set the bounds.

        Args:
            slots: maximum total cost of all current turns.
            per_key: maximum total cost of one key's current turns.
            waiting_per_key: maximum waiters of one key; further waiters get `Overloaded`.
            refusal: message of that `Overloaded`.
        """
        self._slots = slots
        self._per_key = per_key
        self._waiting_per_key = waiting_per_key
        self._refusal = refusal
        self._taken = 0
        self._waiters = 0
        self._keys: dict[str, _Key] = {}
        """Keys that have a turn or a waiter."""
        self._ready: OrderedDict[str, _Key] = OrderedDict()
        """Keys whose first waiter fits into the bound of its key, in the order of service."""

    @property
    def is_idle(self) -> bool:
        """Whether the queue has neither a turn nor a waiter."""
        return not self._keys and not self._taken

    @property
    def taken(self) -> int:
        """Total cost of all current turns."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Number of waiters."""
        return self._waiters

    def turn(self, key: str, cost: int = 1) -> Turn:
        """Return a turn for ``async with``.

        A turn that is free is granted without suspending. Entering raises `Overloaded` if the key has too many waiters.
        """
        return Turn(self, key, cost)

    def enter_now(self, name: str, cost: int) -> bool:
        """Take a turn if one is free and nobody waits for it; return whether. A turn must be returned with `leave`."""
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
        """Wait for a turn that `enter_now` did not grant.

        Raises:
            Overloaded: this key has too many waiters.
        """
        key = self._keys.get(name) or _Key()
        if len(key.waiting) >= self._waiting_per_key:
            raise Overloaded(self._refusal.format(most=self._waiting_per_key))
        self._keys[name] = key
        waiter = _Waiter(cost)
        key.waiting[waiter] = None
        self._waiters += 1
        self._line_up(name, key)
        try:
            await waiter.given
        except asyncio.CancelledError:
            if waiter.has_turn:  # granted at the moment of the cancellation
                self.leave(name, cost)
            else:
                del key.waiting[waiter]
                self._waiters -= 1
                self._changed(name, key)
            raise

    def leave(self, name: str, cost: int) -> None:
        """Return a turn."""
        key = self._keys[name]
        self._taken -= cost
        key.taken -= cost
        if self._ready or key.waiting:
            self._changed(name, key)
        elif not key.taken:
            del self._keys[name]

    def _changed(self, name: str, key: _Key) -> None:
        """Serve the waiters for which a turn has become free."""
        self._line_up(name, key)
        if not key.taken and not key.waiting:
            del self._keys[name]
        while self._ready:
            name, key = next(iter(self._ready.items()))
            waiter = next(iter(key.waiting))
            if self._taken and self._taken + waiter.cost > self._slots:
                return  # no waiter overtakes this one, or small turns would starve a large one
            del self._ready[name], key.waiting[waiter]
            self._waiters -= 1
            self._taken += waiter.cost
            key.taken += waiter.cost
            waiter.has_turn = True
            if not waiter.given.done():  # a cancelled waiter's task has yet to run, and returns the turn then
                waiter.given.set_result(None)
            self._line_up(name, key)

    def _line_up(self, name: str, key: _Key) -> None:
        """Append a key to the ready keys if its own bound has room; a key that is ready keeps its place."""
        if key.waiting and key.has_room(next(iter(key.waiting)).cost, self._per_key):
            self._ready.setdefault(name, key)
        else:
            self._ready.pop(name, None)


class Turn:
    """The async context manager of one turn."""

    __slots__ = ("_cost", "_key", "_queue")

    def __init__(self, queue: FairQueue, key: str, cost: int) -> None:
        """Create a turn; called by `FairQueue.turn`."""
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
        """Whether a turn was granted; ``given.done()`` is also true after a cancellation."""


class _Key:
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: OrderedDict[_Waiter, None] = OrderedDict()

    def has_room(self, cost: int, bound: int) -> bool:
        return not self.taken or self.taken + cost <= bound
