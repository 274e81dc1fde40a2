"""How calls follow each other: each caller again when it has its answer, or at times of their own."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.calls import Call, Shares, WrongAnswer
from bench.job import Job, Measured
from bench.usage import cpu_ns_of_all
from bench.wire import Wire

_OPEN_SLOTS = 1024
"""Calls over gRPC that may be under way at once where they begin at times of their own."""

_PAUSE = 0.001


@dataclass(slots=True)
class _Mark:
    """What was used by when."""

    at: float
    own_cpu: float
    cpu: Mapping[str, int]

    @classmethod
    def now(cls, pids: Mapping[str, Sequence[int]]) -> _Mark:
        used = {name: cpu_ns_of_all(those) for name, those in pids.items()}
        return cls(time.perf_counter(), time.process_time(), {name: ns for name, ns in used.items() if ns is not None})


class _Window:
    """Counts from the end of the warm-up to the end of the measurement."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._begins = time.perf_counter() + job.warmup
        self._first: _Mark | None = None
        self._last: _Mark | None = None
        self._times: list[float] = []

    @property
    def is_over(self) -> bool:
        """Whether it is time to begin no more calls."""
        return self._last is not None

    def add(self, now: float, seconds: float) -> None:
        """Count a call that was answered now."""
        if self._last is not None or now < self._begins:
            return
        if self._first is None:
            self._first = _Mark.now(self._job.pids)
            return
        self._times.append(seconds)
        over = len(self._times) >= self._job.calls if self._job.calls else now - self._first.at >= self._job.seconds
        if over:
            self._last = _Mark.now(self._job.pids)

    def measured(self, acknowledged: int) -> Measured:
        """What was measured, once it is over."""
        assert self._first is not None and self._last is not None  # noqa: S101, PT018 - it is over
        first, last, times = self._first, self._last, sorted(self._times)
        seconds = last.at - first.at
        return Measured(
            calls=len(times),
            seconds=seconds,
            p50_ms=quantile(times, 0.5) * 1000,
            p99_ms=quantile(times, 0.99) * 1000,
            cpu_ns={name: ns - first.cpu[name] for name, ns in last.cpu.items() if name in first.cpu},
            generator_busy=(last.own_cpu - first.own_cpu) / seconds,
            acknowledged=acknowledged,
        )


def quantile(ordered: list[float], part: float) -> float:
    """The value that this part of the ordered ones does not exceed."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


class ClosedLoop:
    """Each caller begins its next call when it has its answer."""

    def __init__(self, job: Job, call: Call, wire: Wire) -> None:
        self._job, self._call, self._wire = job, call, wire
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number = 0
        self._under_way: list[tuple[int, float]] = [(0, 0.0)] * job.callers
        self._callers = job.callers

    async def run(self) -> Measured:
        """Measure.

        Raises:
            WrongAnswer: a call failed, or was not answered as it must be.
        """
        self._window = _Window(self._job)
        for slot in range(self._job.callers):
            self._begin(slot)
        self._wire.flush()
        await self._done
        return self._window.measured(_acknowledged(self._call))

    def _begin(self, slot: int) -> None:
        number, self._number = self._number, self._number + 1
        request = self._call.request(number)
        self._under_way[slot] = (number, time.perf_counter())
        self._wire.send(slot, request)

    def answered(self, slot: int, answer: bytes) -> None:
        """Check the answer, and begin the next call."""
        now = time.perf_counter()
        if self._done.done():
            return
        number, began = self._under_way[slot]
        _check(self._call, number, answer, self._done)
        self._window.add(now, now - began)
        if not self._window.is_over:
            self._begin(slot)
            return
        self._callers -= 1
        if not self._callers and not self._done.done():
            self._done.set_result(None)

    def failed(self, why: str) -> None:
        """Give up."""
        _fail(self._done, why)


class OpenLoop:
    """Calls begin at random times, whatever became of those before; each is timed from when it should have begun."""

    def __init__(self, job: Job, call: Call, wire: Wire) -> None:
        self._job, self._call, self._wire = job, call, wire
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._free = list(range(job.callers if job.protocol == "rest" else _OPEN_SLOTS))
        self._due: deque[float] = deque()
        self._under_way: dict[int, tuple[int, float]] = {}
        self._number = 0
        self._random = random.Random(1)  # noqa: S311 - the same times in every run

    async def run(self) -> Measured:
        """Do what `ClosedLoop.run` promises."""
        self._window = _Window(self._job)
        self._next = time.perf_counter()
        self._tick()
        await self._done
        return self._window.measured(_acknowledged(self._call))

    def _tick(self) -> None:
        if self._done.done() or self._window.is_over:
            return
        now = time.perf_counter()
        while self._next <= now:
            self._due.append(self._next)
            self._next += self._random.expovariate(self._job.rate)
        self._begin_due()
        # The loop's timers are as coarse as this pause: what is due sooner is waited for by looking at the clock.
        if self._next - now > 2 * _PAUSE:
            self._loop.call_later(_PAUSE, self._tick)
        else:
            self._loop.call_soon(self._tick)

    def _begin_due(self) -> None:
        while self._due and self._free:
            slot, number = self._free.pop(), self._number
            self._number += 1
            self._under_way[slot] = (number, self._due.popleft())
            self._wire.send(slot, self._call.request(number))
        self._wire.flush()

    def answered(self, slot: int, answer: bytes) -> None:
        """Check the answer, and begin a call that waits for a free connection."""
        now = time.perf_counter()
        if self._done.done():
            return
        number, due = self._under_way.pop(slot)
        _check(self._call, number, answer, self._done)
        self._window.add(now, now - due)
        self._free.append(slot)
        if not self._window.is_over:
            self._begin_due()
        elif not self._under_way and not self._done.done():
            self._done.set_result(None)

    def failed(self, why: str) -> None:
        """Give up."""
        _fail(self._done, why)


Loop = ClosedLoop | OpenLoop
LOOPS: Mapping[bool, Callable[[Job, Call, Wire], Loop]] = {False: ClosedLoop, True: OpenLoop}
"""By whether a job has a rate."""


def _check(call: Call, number: int, answer: bytes, done: asyncio.Future[None]) -> None:
    try:
        call.check(number, answer)
    except (WrongAnswer, ValueError, KeyError, TypeError) as wrong:
        _fail(done, str(wrong))


def _fail(done: asyncio.Future[None], why: str) -> None:
    if not done.done():
        done.set_exception(WrongAnswer(why))


def _acknowledged(call: Call) -> int:
    return len(call.acknowledged) if isinstance(call, Shares) else 0
