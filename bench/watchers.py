"""The watchers of `bench.watching`: a process that watches and shares, and tells what was received."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from backupsharing.v2 import backup_access_pb2 as access
from backupsharing.v2 import backup_access_pb2_grpc as access_rpc
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc as rpc
from bench.job import OWNER, TOKEN, backup_id, owned_backup
from bench.loops import quantile

_METADATA = (("x-auth-token", TOKEN),)
_STREAMS_OF_CHANNEL = 80
_PATIENCE = 60.0


@dataclass(slots=True)
class _Run:
    """One run: when each sharing was acknowledged, and when which watcher had its event."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    received: list[tuple[int, str, float]] = field(default_factory=list)
    """Watcher, sharing and time."""
    expected: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, watcher: int, sharing_id: str) -> None:
        self.received.append((watcher, sharing_id, time.perf_counter()))
        if self.expected and len(self.received) >= self.expected:
            self.arrived.set()


def main() -> None:
    """Read what is asked as a line of JSON, and print what was found."""
    asked = json.loads(sys.stdin.readline())
    asyncio.run(_measure(asked))


async def _measure(asked: dict[str, Any]) -> None:
    run, projects = _Run(), [secrets.token_hex(16) for _ in range(asked["projects"])]
    watched = [*projects, *[""] * asked["services"]]
    channels = [_channel(asked["watch"]) for _ in range(len(watched) // _STREAMS_OF_CHANNEL + 1)]
    share = rpc.BackupSharingServiceStub(_channel(asked["share"]))
    tasks = []
    for number, project in enumerate(watched):
        stub = access_rpc.BackupAccessServiceStub(channels[number // _STREAMS_OF_CHANNEL])
        call = stub.WatchSharings(access.WatchSharingsRequest(project_id=project), metadata=_METADATA)
        await call.initial_metadata()
        tasks.append(asyncio.create_task(_watch(run, number, call)))
    await asyncio.sleep(1.0)  # a watch from now begins a moment after its initial metadata
    recipients = await _share(run, share, projects, asked)
    each = Counter(recipients)
    run.expected = len(recipients) * asked["services"] + sum(each[project] for project in projects)
    if len(run.received) < run.expected:
        async with asyncio.timeout(_PATIENCE):
            await run.arrived.wait()
    await asyncio.sleep(0.3)  # what came twice would come now
    print(json.dumps(_found(run)), flush=True)
    os._exit(0)  # the end of so many streams takes gRPC minutes


async def _watch(run: _Run, number: int, call: Any) -> None:  # noqa: ANN401 - a stream of grpc.aio
    async for response in call:
        if response.HasField("event") and response.event.kind == "shared":
            run.take(number, response.event.sharing_id)


async def _share(run: _Run, stub: Any, projects: Sequence[str], asked: dict[str, Any]) -> Sequence[str]:  # noqa: ANN401 - as above
    """Share at the rate; return the recipient of each share."""
    recipients: list[str] = []
    calls = []
    began = time.perf_counter()
    for number in range(asked["rate"] * asked["seconds"]):
        recipient = projects[number % len(projects)] if projects else secrets.token_hex(16)
        recipients.append(recipient)
        calls.append(asyncio.create_task(_share_one(run, stub, number % asked["backups"], recipient)))
        await asyncio.sleep(max(began + (number + 1) / asked["rate"] - time.perf_counter(), 0))
    await asyncio.gather(*calls)
    return recipients


async def _share_one(run: _Run, stub: Any, backup: int, recipient: str) -> None:  # noqa: ANN401 - as above
    shared = pb.BackupRecipients(backup_id=backup_id(owned_backup(backup)), to_project_ids=[recipient])
    response = await stub.ShareBackup(pb.ShareBackupRequest(project_id=OWNER, shared=shared), metadata=_METADATA)
    run.acknowledged[response.shared[0].id] = time.perf_counter()


def _found(run: _Run) -> dict[str, float]:
    lags = sorted(max(at - run.acknowledged[sharing], 0.0) for _, sharing, at in run.received)
    twice = len(run.received) - len({(watcher, sharing) for watcher, sharing, _ in run.received})
    return {
        "received": len(run.received),
        "wrong": twice + abs(run.expected - len(run.received)),
        "p50_ms": quantile(lags, 0.5) * 1000,
        "p99_ms": quantile(lags, 0.99) * 1000,
    }


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


if __name__ == "__main__":
    main()
