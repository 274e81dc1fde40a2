"""Messages on their way: requests that have not arrived as a whole, and large ones that are held.

gRPC takes in a message of any size before it compares that with its limit, however long that takes, and keeps an
answer until its client has read it. So every message is received, and every large one is held, within these bounds.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from restmap.multiplexing.carrier import NoRoom

Context = grpc.aio.ServicerContext[Any, Any]

SMALL = 16 * 1024
"""Bytes of a message that is not counted as held: the limit on calls bounds those."""

TICK_SECONDS = 0.05
"""How often messages are looked at that have not arrived. One of usual size arrives together with its call, and
is never looked at; a connection of 10 Gbit/s brings 60 MB in this time."""

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be on its way; sizes are bytes."""

    arriving: int = 128
    """Requests of unary calls that have not arrived as a whole; beyond, the oldest is given up."""
    arrival_seconds: float = 10.0
    """For the request of a unary call to arrive."""
    growth: int = 48 * 1024 * 1024
    """By which the process may grow while a message arrives; beyond, the message is given up."""
    held: int = 64 * 1024 * 1024
    """Of all large messages that are held."""
    held_by_peer: int = 32 * 1024 * 1024
    """Of those of one connection."""


BOUNDS = Bounds()


def resident_bytes() -> int:
    """The memory that this process occupies; 0 where the system does not tell."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class _Arrival:
    """A message that is being received, and the task that waits for it."""

    __slots__ = ("is_busy", "is_given_up", "resident", "since", "task")

    def __init__(
        self, task: asyncio.Task[Any] | None, since: float, resident: int, is_busy: Callable[[], bool] | None
    ) -> None:
        self.task = task
        self.since = since
        self.resident = resident
        self.is_busy = is_busy
        """Of a stream, which may be silent for any time: whether calls of it are in progress. None: a unary call."""
        self.is_given_up = False


class Traffic:
    """Receives the messages of all connections, and counts the large ones that are held."""

    def __init__(self, bounds: Bounds = BOUNDS, resident: Callable[[], int] = resident_bytes) -> None:
        """Keep these bounds; ``resident`` says how many bytes the process occupies."""
        self._bounds = bounds
        self._resident = resident
        self._resident_now = 0
        self._calls: dict[_Arrival, None] = {}
        """Requests of unary calls that are arriving, the oldest first."""
        self._frames: dict[_Arrival, None] = {}
        """The same of streams."""
        self._looking: asyncio.TimerHandle | None = None
        self._held = 0
        self._held_by_peer: Counter[str] = Counter()

    def receive(self, context: Context) -> Awaitable[bytes | None]:
        """The request of a unary call; None if the client has gone, or sends none.

        Raises:
            NoRoom: the request took too long, or there was no room for it.
        """
        return self._receive(context, self._calls, None)

    def receive_frame(self, context: Context, is_busy: Callable[[], bool]) -> Awaitable[bytes | None]:
        """The next message of a stream, which may take any time to come; None at its end.

        Args:
            context: of the stream.
            is_busy: whether calls are in progress that would be lost with the stream.

        Raises:
            NoRoom: there was no room for it.
        """
        return self._receive(context, self._frames, is_busy)

    def hold(self, peer: str, size: int) -> int:
        """Count a message that is held for a connection; answers what to `release`, 0 for a small message.

        Raises:
            NoRoom: there is no room for it.
        """
        if size <= SMALL:
            return 0
        if self._held + size > self._bounds.held or self._held_by_peer[peer] + size > self._bounds.held_by_peer:
            raise NoRoom("More bytes of requests and answers are held than the server keeps; try again later.")
        self._held += size
        self._held_by_peer[peer] += size
        return size

    def release(self, peer: str, size: int) -> None:
        """A message is no longer held."""
        if size:
            self._held -= size
            self._held_by_peer[peer] -= size
            if not self._held_by_peer[peer]:
                del self._held_by_peer[peer]

    async def _receive(
        self, context: Context, arrivals: dict[_Arrival, None], is_busy: Callable[[], bool] | None
    ) -> bytes | None:
        loop = asyncio.get_running_loop()
        if self._looking is None:
            self._resident_now = self._resident()
            self._looking = loop.call_later(TICK_SECONDS, self._look)
        arrival = _Arrival(asyncio.current_task(loop), loop.time(), self._resident_now, is_busy)
        arrivals[arrival] = None
        if arrivals is self._calls and len(arrivals) > self._bounds.arriving:
            self._give_up(next(iter(arrivals)))
        try:
            message = await context.read()
            return message if isinstance(message, bytes) else None
        except asyncio.CancelledError:
            # Whoever gave the message up has cancelled the task; perhaps its client has as well.
            if not arrival.is_given_up or arrival.task is None or arrival.task.uncancel():
                raise
            raise NoRoom("The message did not arrive in time; there is no more room for it.") from None
        finally:
            arrivals.pop(arrival, None)

    def _look(self) -> None:
        """Give up what takes too long, or too much."""
        loop = asyncio.get_running_loop()
        self._looking = None
        if not self._calls and not self._frames:
            return
        self._looking = loop.call_later(TICK_SECONDS, self._look)
        now, self._resident_now = loop.time(), self._resident()
        for arrival in (*self._calls, *self._frames):
            growth, bound = self._resident_now - arrival.resident, self._bounds.growth
            is_late = arrival.is_busy is None and now - arrival.since > self._bounds.arrival_seconds
            if is_late or growth > bound * (2 if arrival.is_busy is not None and arrival.is_busy() else 1):
                self._give_up(arrival)

    def _give_up(self, arrival: _Arrival) -> None:
        self._calls.pop(arrival, None)
        self._frames.pop(arrival, None)
        arrival.is_given_up = True
        if arrival.task is not None:
            arrival.task.cancel()
