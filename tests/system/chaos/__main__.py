"""Kill servers, gateways and the database at random under load, then check the journal: ``make chaos``.

Runs for CHAOS_SECONDS (60). CHAOS_SEED determines the kills. Everything runs on loopback; only processes that this
program started are killed, by process id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.support.programs import ROOT, environment
from tests.system.chaos.callers import Callers, Journal
from tests.system.chaos.cluster import SERVICE_TOKEN, Cluster, Process
from tests.system.chaos.watcher import Watcher

_CALLERS = 32
_BETWEEN = (0.2, 3.0)
"""Minimum and maximum seconds between two kills."""
_DOWN = (0.0, 2.0)
"""Minimum and maximum seconds that a killed process stays down."""


class Chaos:
    """Kills processes and cuts database connections, one at a time or several at once."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self.done: Counter[str] = Counter()
        self._at_database = asyncio.Lock()

    async def run(self, until: float) -> None:
        """Kill until this monotonic time; return once everything runs again."""
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() < until:
                action = self._random.choice([self._process, self._process, self._process, self._database, self._cut])
                tasks.create_task(action())
                await asyncio.sleep(self._random.uniform(*_BETWEEN))

    async def _process(self) -> None:
        process = self._random.choice(self._cluster.processes)
        number = self._random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        await self._end(process, number)

    async def _end(self, process: Process, number: signal.Signals) -> None:
        self.done[f"{process.name.split()[0]} {number.name}"] += 1
        await asyncio.to_thread(process.end, number)
        await asyncio.sleep(self._random.uniform(*_DOWN))
        if not process.is_running:
            process.start()

    async def _database(self) -> None:
        async with self._at_database:
            self.done["database SIGKILL"] += 1
            await asyncio.to_thread(self._cluster.postgres.kill)
            await asyncio.sleep(self._random.uniform(*_DOWN))
            await asyncio.to_thread(self._cluster.postgres.start)

    async def _cut(self) -> None:
        async with self._at_database:
            self.done["connections cut"] += 1
            await asyncio.to_thread(self._cluster.postgres.cut_connections)


async def _main() -> int:
    seconds, seed = float(os.environ.get("CHAOS_SECONDS", "60")), int(os.environ.get("CHAOS_SEED", "1"))
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        cluster = await asyncio.to_thread(Cluster, folder, 4, 25)
        try:
            return await _shake(cluster, seconds, seed)
        finally:
            await asyncio.to_thread(cluster.close)


async def _shake(cluster: Cluster, seconds: float, seed: int) -> int:
    await asyncio.to_thread(cluster.put_backups)
    await cluster.until_ready()
    journal = Journal(cluster.folder / "journal.jsonl")
    callers = Callers(cluster.addresses, cluster.projects, journal, seed)
    watcher = Watcher(cluster.grpc_addresses, SERVICE_TOKEN)
    watching = asyncio.create_task(watcher.run())
    calling = asyncio.create_task(callers.run(_CALLERS))
    chaos = Chaos(cluster, Random(seed))  # noqa: S311 -- no secret
    await chaos.run(time.monotonic() + seconds)
    await cluster.until_ready()
    callers.stopping.set()
    await calling
    journal.close()
    missed = await watcher.problems(cluster.url)
    watching.cancel()
    (ended,) = await asyncio.gather(watching, return_exceptions=True)
    died = [process.name for process in cluster.processes if not process.is_running]
    _say(f"seed {seed}, {seconds:.0f} s: {_counts(chaos.done)}")
    _say(f"responses: {_counts(journal.responses)}")
    _say(f"watcher: {len(watcher.seen)} events, resumed {watcher.resumed} times, {len(missed)} problems")
    for problem in missed[:50]:
        _say(f"FAILED {problem}")
    if not isinstance(ended, asyncio.CancelledError):
        _say(f"FAILED the watch ended: {ended!r}")
        missed = [*missed, "ended"]
    for name in died:
        _say(f"FAILED {name} exited unexpectedly")
    check = (sys.executable, "-m", "tests.system.chaos.check", cluster.url, str(journal.path))
    fits = await asyncio.create_subprocess_exec(*check, cwd=ROOT, env=environment())
    failed = await fits.wait() != 0 or bool(died) or bool(missed)
    if failed:
        _say(cluster.logs())
    return int(failed)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counter.items()))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main()))
