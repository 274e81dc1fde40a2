"""Holds watches for `bench.watch_memory`: opens as many as a line says, and drops them at the next line.

Answers each line with the number of watches that are open.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import grpc

from backupsharing.v2 import backup_access_pb2 as access
from backupsharing.v2 import backup_access_pb2_grpc as access_rpc
from bench.job import LISTED, TOKEN

_METADATA = (("x-auth-token", TOKEN),)
_STREAMS_OF_CHANNEL = 80
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


async def _hold(address: str) -> None:
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        channels = [grpc.aio.insecure_channel(address, _OPTIONS) for _ in range(-(-int(line) // _STREAMS_OF_CHANNEL))]
        calls = [call for channel in channels for call in await _opened(channel, min(_STREAMS_OF_CHANNEL, int(line)))]
        print(len(calls), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for call in calls:
            call.cancel()
        for channel in channels:
            await channel.close()
        print(0, flush=True)
    os._exit(0)


async def _opened(channel: grpc.aio.Channel, number: int) -> Sequence[Any]:
    """Open watches, each of which has sent its first message."""
    stub = access_rpc.BackupAccessServiceStub(channel)
    request = access.WatchSharingsRequest(project_id=LISTED)
    calls = [stub.WatchSharings(request, metadata=_METADATA) for _ in range(number)]
    await asyncio.gather(*(call.read() for call in calls))
    return calls


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1]))
