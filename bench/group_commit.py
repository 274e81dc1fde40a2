"""Changes that share a commit, against a transaction for each."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import uuid_utils
import uvloop

from backup_sharing.model import AVAILABLE, Backup
from backup_sharing.rules.commands import Cause, OnConflict, PutBackup, Share
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.sqlite.engine import SqliteEngine
from bench.inside import measured_inside
from bench.job import OWNER, backup_id
from bench.outcome import Outcome, Setting, Table, number
from bench.processes import BUILD

_CALLERS = 16
_BACKUPS = 100
_SECONDS = 1.5
_TOGETHER, _EACH = "group commit", "a transaction each"
_MAX_BATCH = {_TOGETHER: 256, _EACH: 1}


def measure_group_commit(setting: Setting) -> Outcome:
    """Durable shares a second of the SQLite store, with batches and without."""
    found: Mapping[str, Sequence[float]] = measured_inside(setting, "bench.group_commit", str(setting.rounds))
    times = median(a / b for a, b in zip(found[_TOGETHER], found[_EACH], strict=True))
    rows = [(name, number(median(each)), f"{number(min(each))} - {number(max(each))}") for name, each in found.items()]
    return Outcome(
        "group-commit",
        "Group commit",
        f"The SQLite store by itself, {_CALLERS} callers, every share durable before it is acknowledged; loop and"
        " writer on one core. In turn on two databases, medians; at the end all shares are counted.",
        [Table((f"{_CALLERS} callers", "shares/s", "least - most"), rows)],
        [f"Ratio: {times:.2f}."],
        {"group commit": times},
    )


async def compare(rounds: int) -> Mapping[str, Sequence[float]]:
    """Shares a second in each round of each way."""
    numbers = itertools.count()
    found: dict[str, list[float]] = {name: [] for name in _MAX_BATCH}
    made = dict.fromkeys(_MAX_BATCH, 0)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="run-") as folder:
        async with AsyncExitStack() as stack:
            stores: dict[str, BatchedStore] = {}
            for name, max_batch in _MAX_BATCH.items():
                stores[name] = await BatchedStore.open(
                    SqliteEngine(Path(folder) / f"{max_batch}.db"), max_batch=max_batch
                )
                stack.push_async_callback(stores[name].close)
                await _fill(stores[name])
            for _ in range(rounds):
                for name, store in stores.items():
                    count, seconds = await _round(store, numbers)
                    made[name] += count
                    found[name].append(count / seconds)
            for name, store in stores.items():
                await _check(store, made[name])
    return found


async def _fill(store: BatchedStore) -> None:
    for index in range(_BACKUPS):
        await store.put_backup(PutBackup(Backup(backup_id(index), OWNER, AVAILABLE), _cause()))


async def _round(store: BatchedStore, numbers: itertools.count[int]) -> tuple[int, float]:
    """Shares made, and the seconds it took."""
    made = 0
    began = time.perf_counter()

    async def call_on() -> None:
        nonlocal made
        while time.perf_counter() < began + _SECONDS:
            await store.share(_share(next(numbers)))
            made += 1

    await asyncio.gather(*(call_on() for _ in range(_CALLERS)))
    return made, time.perf_counter() - began


def _share(index: int) -> Share:
    return Share(
        backup_id=backup_id(index % _BACKUPS),
        from_project_id=OWNER,
        to_project_ids=[f"{index:032x}"],
        sharing_ids=[str(uuid_utils.uuid7())],
        on_conflict=OnConflict.REFUSE,
        max_active=0,
        cause=_cause(),
    )


def _cause() -> Cause:
    return Cause(OWNER, "bench", "req-bench", time.time_ns() // 1000)


async def _check(store: BatchedStore, made: int) -> None:
    from backup_sharing.store.interface import SharingFilter

    if (stored := await store.count_sharings(SharingFilter(OWNER))) != made:
        raise AssertionError(f"{made} shares acknowledged, {stored} stored")


if __name__ == "__main__":
    if hasattr(os, "SCHED_BATCH"):  # as the server does
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    json.dump(uvloop.run(compare(int(sys.argv[1]))), sys.stdout)
