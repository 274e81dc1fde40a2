"""The load generator: a process that reads jobs as lines of JSON and answers each with what it measured."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.calls import Call, Shares, WrongAnswer, call_of, grpc_path
from bench.grpc_client import GrpcWire
from bench.job import TOKEN, Job, Measured
from bench.loops import LOOPS
from bench.rest_client import RestWire
from bench.wire import Listener, Wire

_PATIENCE = 120.0
"""Seconds beyond what a job should take."""

_SLOWEST = 20.0
"""Calls a second that an endpoint makes at least, where a job is told by its calls."""


class _Nobody:
    """Listens between two jobs, when nothing should happen."""

    def answered(self, slot: int, answer: bytes) -> None:
        """Nothing was asked."""

    def failed(self, why: str) -> None:
        """A connection was closed between two measurements."""


class Generator:
    """Carries out jobs one after the other; keeps connections, as what is measured is not their opening."""

    def __init__(self) -> None:
        self._wires: dict[tuple[Sequence[str], str, bool], Wire] = {}

    async def run(self, job: Job) -> Measured:
        """Measure.

        Raises:
            WrongAnswer, OSError, TimeoutError: it cannot be measured.
        """
        call = call_of(job)
        wire = self._wire(job)
        await wire.open(job.callers)
        loop = LOOPS[job.rate > 0](job, call, wire)
        wire.listener = loop
        gc.collect()
        gc.freeze()
        async with asyncio.timeout(job.warmup + (job.calls / _SLOWEST or job.seconds) + _PATIENCE):
            measured = await loop.run()
        wire.listener = _Nobody()
        _write_down(job, call)
        return measured

    def _wire(self, job: Job) -> Wire:
        path = grpc_path(job) if job.protocol == "grpc" else ""
        key = (tuple(job.addresses), path, job.close)
        if key not in self._wires:
            nobody: Listener = _Nobody()
            self._wires[key] = (
                GrpcWire(job.addresses, path, TOKEN, nobody)
                if job.protocol == "grpc"
                else RestWire(job.addresses[0], nobody, close=job.close)
            )
        return self._wires[key]


def _write_down(job: Job, call: Call) -> None:
    if job.acknowledged and isinstance(call, Shares):
        with Path(job.acknowledged).open("a", encoding="ascii") as file:
            file.writelines(f"{sharing_id}\n" for sharing_id in call.acknowledged)


async def _serve() -> None:
    generator = Generator()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = asdict(await generator.run(Job(**json.loads(line))))
        except (WrongAnswer, OSError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
            generator = Generator()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve())
    else:
        uvloop.run(_serve())
