"""Send hostile requests to a gateway with its server: ``make fuzz``.

Stops after FUZZ_REQUESTS, or else after FUZZ_SECONDS (60). FUZZ_SEED determines the requests. Exits with 1 and prints
the requests if a response violates the contract, a process dies, or the database differs from the acknowledged
sharings.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import uvloop

from tests.system.fuzz.answers import complaint, ends_connection, made, read_answer
from tests.system.fuzz.pair import Pair, Project, running_pair
from tests.system.fuzz.requests import GENERATORS, Generator, Request

_BATCH = 32
"""Requests sent at once on one connection, equal to the gateway's read-ahead."""

_RAW_TASKS = 24
"""Concurrent connections for raw requests; many of these requests never end, so their connections wait."""

_PATIENCE = 60.0
_MOST_COMPLAINTS = 10


@dataclass(slots=True)
class Run:
    """Progress and findings."""

    pair: Pair
    most_requests: int | None
    until: float
    """End in monotonic time."""
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        if self.most_requests is not None and self.sent >= self.most_requests:
            return True
        return time.monotonic() >= self.until or len(self.complaints) >= _MOST_COMPLAINTS

    def check(self, request: Request, status: int, head: bytes, body: bytes, kind: str) -> None:
        """Count a response, and record a complaint if the response violates the contract."""
        self.statuses[str(status)] += 1
        found = complaint(status, head, body, request.sent, is_head=request.is_head)
        if found:
            self.complain(f"{kind}: {found}", request, head + body)

    def complain(self, what: str, request: Request, answer: bytes) -> None:
        self.complaints.append(f"{what}\n  sent {request.sent[:1500]!r}\n  answer {answer[:1500]!r}")


async def _pipelining(run: Run, kind: str, generate: Generator, random: Random, project: Project) -> None:
    """Send one batch after the other, on one connection until it closes."""
    reader, writer = await _connect(run.pair.address)
    while not run.is_over:
        batch = [generate(random, project) for _ in range(_BATCH)]
        run.sent += len(batch)
        writer.write(b"".join(request.sent for request in batch))
        async with asyncio.timeout(_PATIENCE):
            answered, stays_open = await _answers(run, kind, batch, reader, project)
        if not stays_open:
            run.statuses["unanswered"] += len(batch) - answered
            writer.close()
            reader, writer = await _connect(run.pair.address)
    writer.close()


async def _answers(
    run: Run, kind: str, batch: Sequence[Request], reader: asyncio.StreamReader, project: Project
) -> tuple[int, bool]:
    """Read the responses to a batch; return their number, and whether the connection stays open."""
    status = 0
    for number, request in enumerate(batch):
        try:
            status, head, body = await read_answer(reader, is_head=request.is_head)
        except (EOFError, ConnectionError):
            run.complain(f"{kind}: no answer", request, b"")
            return number, False
        run.check(request, status, head, body, kind)
        if status == 200 and request.sent.startswith(b"POST "):
            project.acknowledged.extend(made(body))
        if ends_connection(head):
            return number + 1, False
    return len(batch), True


async def _one_by_one(run: Run, kind: str, generate: Generator, random: Random, project: Project) -> None:
    """Send each request on a new connection and check the response."""
    while not run.is_over:
        request = generate(random, project)
        run.sent += 1
        reader, writer = await _connect(run.pair.address)
        try:
            writer.write(request.sent)
            if random.random() < 0.5:
                writer.write_eof()
            async with asyncio.timeout(_PATIENCE):
                run.check(request, *await read_answer(reader, is_head=request.is_head), kind)
        except (EOFError, ConnectionError):
            run.statuses["unanswered"] += 1
        finally:
            writer.close()


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _fuzz(run: Run, seed: int) -> None:
    projects = iter(run.pair.projects)
    async with asyncio.TaskGroup() as tasks:
        for kind, generate in GENERATORS.items():
            project = next(projects)
            if kind != "raw":
                tasks.create_task(_pipelining(run, kind, generate, Random(f"{seed} {kind}"), project))  # noqa: S311
                continue
            for number in range(_RAW_TASKS):
                tasks.create_task(_one_by_one(run, kind, generate, Random(f"{seed} {kind} {number}"), project))  # noqa: S311


async def _survivors(run: Run) -> None:
    """Record complaints about the final state: processes, database, and one more request."""
    for program in (run.pair.server, run.pair.gateway):
        if not program.is_running or program.printed:
            run.complaints.append(f"the {program.module} died or logged errors:\n{program.printed[-3000:]}")
    acknowledged = [identifier for project in run.pair.projects for identifier in project.acknowledged]
    stored = run.pair.stored()
    if Counter(set(acknowledged)) != Counter(stored):
        run.complaints.append(f"{len(set(acknowledged))} sharings were acknowledged, {len(stored)} are stored")
    project = run.pair.projects[0]
    reader, writer = await _connect(run.pair.address)
    writer.write(f"GET {project.path}/count HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {project.token}\r\n\r\n".encode())
    status, head, body = await read_answer(reader, is_head=False)
    writer.close()
    if status != 200:
        run.complaints.append(f"a valid request afterwards returned {status}: {(head + body)!r}")


async def _main() -> int:
    requests, seed = os.environ.get("FUZZ_REQUESTS"), int(os.environ.get("FUZZ_SEED", "1"))
    seconds = float(os.environ.get("FUZZ_SECONDS", "inf" if requests else "60"))
    async with running_pair(len(GENERATORS)) as pair:
        began = time.monotonic()
        run = Run(pair, int(requests) if requests else None, began + seconds)
        await _fuzz(run, seed)
        took = time.monotonic() - began
        await _survivors(run)
        stored = len(pair.stored())
    _say(f"seed {seed}: {run.sent} requests in {took:.1f} s, {run.sent / took:.0f}/s; {stored} sharings made")
    _say(", ".join(f"{status}: {count}" for status, count in sorted(run.statuses.items())))
    for text in run.complaints:
        _say(f"\nFAILED {text}")
    return 1 if run.complaints else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(uvloop.run(_main()))
