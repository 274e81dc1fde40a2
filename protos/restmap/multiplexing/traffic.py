"""Limits on messages that have not arrived completely, and on large messages that are held in memory.

gRPC reads a message of any size before it compares the size with its limit, without a time limit, and keeps a response
in memory until the client has read it. So this module limits the receipt of messages, and the bytes of large ones.
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

from restmap.multiplexing.call_handler import ResourceExhausted

Context = grpc.aio.ServicerContext[Any, Any]

SMALL = 16 * 1024
"""Maximum bytes of a message that does not count as held: the limit on calls bounds the memory of these."""

TICK_SECONDS = 0.05
"""Seconds between two checks of arriving messages. A message of usual size arrives together with its call, and is never
checked; a connection of 10 Gbit/s delivers 60 MB in this time."""

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of `Traffic`."""

    arriving: int = 128
    """Maximum number of incomplete requests of unary calls; beyond this, the oldest one is rejected."""
    arrival_seconds: float = 10.0
    """Maximum seconds for the request of a unary call to arrive."""
    growth: int = 48 * 1024 * 1024
    """Maximum bytes of memory growth while a message arrives; beyond this, the message is rejected."""
    held: int = 64 * 1024 * 1024
    """Maximum bytes of all large messages that are held."""
    held_by_peer: int = 32 * 1024 * 1024
    """Maximum bytes of the large messages of one connection."""


BOUNDS = Bounds()


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 if the platform does not report it."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # a container runtime may hide the file behind an empty one
        return 0


class _Arrival:
    """An arriving message, and the task that waits for it."""

    __slots__ = ("is_busy", "is_given_up", "is_spared", "resident", "since", "task")

    def __init__(
        self, task: asyncio.Task[Any] | None, since: float, resident: int, is_busy: Callable[[], bool] | None
    ) -> None:
        self.task = task
        self.since = since
        self.resident = resident
        self.is_busy = is_busy
        """Returns whether a stream, which may be idle for any time, has calls in progress. None: a unary call."""
        self.is_given_up = False
        self.is_spared = False

    def is_late(self, now: float, seconds: float) -> bool:
        """Return whether a unary call's message has taken longer than ``seconds``."""
        return self.is_busy is None and now - self.since > seconds

    def may_be_spared(self) -> bool:
        """Return whether this is a stream with calls in progress that was not spared before."""
        return self.is_busy is not None and not self.is_spared and self.is_busy()

    def spare(self, resident: int) -> None:
        """Measure the growth of memory from now on: other messages are rejected first, and may be the cause.

        Memory that they free may stay resident, so this must not count as growth later.
        """
        self.is_spared, self.resident = True, resident


class Traffic:
    """Receives the messages of all connections, and counts the large messages that are held."""

    def __init__(self, bounds: Bounds = BOUNDS, resident: Callable[[], int] = resident_bytes) -> None:
        """Enforce these bounds. ``resident`` returns the resident memory of the process in bytes."""
        self._bounds = bounds
        self._resident = resident
        self._resident_now = 0
        self._calls: dict[_Arrival, None] = {}
        """Arriving requests of unary calls, the oldest first."""
        self._frames: dict[_Arrival, None] = {}
        """Arriving messages of streams."""
        self._looking: asyncio.TimerHandle | None = None
        self._held = 0
        self._held_by_peer: Counter[str] = Counter()

    def receive(self, context: Context) -> Awaitable[bytes | None]:
        """Receive the request of a unary call; None if the client disconnects or sends no request.

        Raises:
            ResourceExhausted: the request took too long or exceeds a limit.
        """
        return self._receive(context, self._calls, None)

    def receive_frame(self, context: Context, is_busy: Callable[[], bool]) -> Awaitable[bytes | None]:
        """Receive the next message of a stream, without a time limit; None at the end of the stream.

        Args:
            context: context of the stream.
            is_busy: returns whether calls are in progress, which the end of the stream would cancel.

        Raises:
            ResourceExhausted: the message exceeds a limit.
        """
        return self._receive(context, self._frames, is_busy)

    def hold(self, peer: str, size: int) -> int:
        """Count a held message of a connection. Return the bytes to `release` later; 0 for a small message.

        Raises:
            ResourceExhausted: the message exceeds a limit.
        """
        if size <= SMALL:
            return 0
        if self._held + size > self._bounds.held or self._held_by_peer[peer] + size > self._bounds.held_by_peer:
            raise ResourceExhausted(
                "More bytes of requests and answers are held than the server keeps; try again later."
            )
        self._held += size
        self._held_by_peer[peer] += size
        return size

    def release(self, peer: str, size: int) -> None:
        """Stop counting a message that is no longer held."""
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
            # _give_up has cancelled the task; perhaps the client has cancelled the call as well.
            if not arrival.is_given_up or arrival.task is None or arrival.task.uncancel():
                raise
            raise ResourceExhausted("The message did not arrive in time; there is no more room for it.") from None
        finally:
            arrivals.pop(arrival, None)

    def _look(self) -> None:
        """Reject messages that take too long or need too much memory."""
        loop = asyncio.get_running_loop()
        self._looking = None
        if not self._calls and not self._frames:
            return
        self._looking = loop.call_later(TICK_SECONDS, self._look)
        now, self._resident_now = loop.time(), self._resident()
        for arrival in (*self._calls, *self._frames):
            if self._resident_now - arrival.resident <= self._bounds.growth:
                if arrival.is_late(now, self._bounds.arrival_seconds):
                    self._give_up(arrival)
            elif arrival.may_be_spared():
                arrival.spare(self._resident_now)
            else:
                self._give_up(arrival)

    def _give_up(self, arrival: _Arrival) -> None:
        self._calls.pop(arrival, None)
        self._frames.pop(arrival, None)
        arrival.is_given_up = True
        if arrival.task is not None:
            arrival.task.cancel()
