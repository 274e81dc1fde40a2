"""Shares a second through each door, with the time of a call: ``python -m bench.calls``.

The doors are measured in turn, several times, so that a machine that changes its speed changes
it for all; the median of the rounds is printed. Every answer is checked, and at the end that
every acknowledged sharing is in the database.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import uvloop

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc as rpc
from bench.pair import OWNER, TOKEN, Pair, backup_id, running_pair

ROUNDS = 3
SECONDS = 3.0
CALLERS = (1, 64)

Share = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of server and gateway together, a call."""
    made: int


async def _round(pair: Pair, share: Share, callers: int, numbers: itertools.count[int]) -> Figures:
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    async def call_on() -> None:
        while (began := time.perf_counter()) < end:
            await share(next(numbers))
            times.append(time.perf_counter() - began)

    cpu, began = pair.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(call_on() for _ in range(callers)))
    elapsed, used = time.perf_counter() - began, pair.cpu_seconds() - cpu
    cuts = statistics.quantiles(times, n=100)
    return Figures(len(times) / elapsed, cuts[49] * 1000, cuts[98] * 1000, used / len(times) * 1e6, len(times))


def _over_grpc(channel: grpc.aio.Channel) -> Share:
    stub = rpc.BackupSharingServiceStub(channel)
    metadata = (("x-auth-token", TOKEN),)

    async def share(number: int) -> None:
        wanted = pb.BackupRecipients(to_project_ids=[f"{number:032x}"], backup_id=backup_id(number))
        answer = await stub.ShareBackup(pb.ShareBackupRequest(project_id=OWNER, shared=wanted), metadata=metadata)
        if answer.shared[0].to_project_id != f"{number:032x}":
            raise AssertionError(answer)

    return share


def _over_rest(session: aiohttp.ClientSession, url: str) -> Share:
    path = f"{url}/v2/{OWNER}/os-vendor-backup-sharing"

    async def share(number: int) -> None:
        body = {"shared": {"to_project_ids": [f"{number:032x}"], "backup_id": backup_id(number)}}
        async with session.post(path, json=body, headers={"X-Auth-Token": TOKEN}) as response:
            answer = await response.json()
            if response.status != 200 or answer["shared"][0]["to_project_id"] != f"{number:032x}":
                raise AssertionError(answer)

    return share


async def measure() -> None:
    """Print one row for each door and number of callers."""
    numbers = itertools.count(1)
    made = 0
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_pair(Path(folder)) as pair,
            grpc.aio.insecure_channel(pair.grpc_address) as channel,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            doors = {
                "gRPC": _over_grpc(channel),
                "REST": _over_rest(session, pair.unary_url),
                "REST, multiplexed": _over_rest(session, pair.url),
            }
            print("| door | callers | shares/s | p50 ms | p99 ms | CPU µs a call, server and gateway |")
            print("|---|---|---|---|---|---|")
            for callers in CALLERS:
                rounds: dict[str, list[Figures]] = {door: [] for door in doors}
                for _ in range(ROUNDS):
                    for door, share in doors.items():
                        rounds[door].append(await _round(pair, share, callers, numbers))
                for door, figures in rounds.items():
                    made += sum(figure.made for figure in figures)
                    print(f"| {door} | {callers} | {_row(figures)} |")
            with sqlite3.connect(f"file:{pair.database}?mode=ro", uri=True) as database:
                stored = database.execute("SELECT count(*) FROM sharings").fetchone()[0]
    print(f"\n{made} shares acknowledged, {stored} stored")
    if stored < made:
        raise AssertionError("an acknowledged sharing is missing")


def _row(figures: list[Figures]) -> str:
    per_second = statistics.median(figure.per_second for figure in figures)
    p50 = statistics.median(figure.p50_ms for figure in figures)
    p99 = statistics.median(figure.p99_ms for figure in figures)
    cpu = statistics.median(figure.cpu_us for figure in figures)
    return f"{per_second:.0f} | {p50:.2f} | {p99:.2f} | {cpu:.0f}"


if __name__ == "__main__":
    uvloop.run(measure())
