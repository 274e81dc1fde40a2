"""The others: a process that calls at a steady, light rate as another project, and says what it noticed.

Reads jobs as lines of JSON from standard input, and answers each with a line. Calls begin by the clock, whether or not
those before have ended, and are timed from when they should have begun.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from backupsharing.v2 import backup_sharing_pb2 as pb
from bench.siege.attacks.calls import HEALTH
from bench.siege.attacks.connections import COUNT, SHARE
from bench.siege.cast import OTHER, OTHER_BACKUPS, OTHER_TOKEN

PATIENCE = 10.0
"""Seconds after which a call counts as failed."""

_PATH = f"/v2/{OTHER}/os-vendor-backup-sharing"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be called."""

    grpc: str
    rest: str
    seconds: float
    rate: float
    """Calls a second, of four kinds in turn: count and share, over REST and gRPC."""
    fresh: bool = False
    """Each call has a connection, and a token of Keystone, of its own."""
    keystone: bool = False


@dataclass(slots=True)
class Noticed:
    """How the calls ended."""

    ms: list[float] = field(default_factory=list)
    """Of the calls that succeeded, and of those that were waited for in vain."""
    failed: dict[str, int] = field(default_factory=dict)
    """Why the others did not."""
    unhealthy: int = 0
    """Looks at the server's health, one a second, that did not find it serving."""

    @property
    def p99(self) -> float:
        """Milliseconds below which 99 of 100 calls took; infinite if none succeeded."""
        if len(self.ms) < 2:
            return float("inf")
        return statistics.quantiles(self.ms, n=100, method="inclusive")[98]


class Others:
    """Makes the calls of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._noticed = Noticed()
        self._numbers = itertools.count()
        self._options = [("grpc.use_local_subchannel_pool", 1)]

    async def run(self) -> Noticed:
        """Call until the time is over and the last call has ended."""
        connector = aiohttp.TCPConnector(limit=0, force_close=self._job.fresh)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(f"http://{self._job.rest}", connector=connector, timeout=timeout) as session,
            grpc.aio.insecure_channel(self._job.grpc, options=self._options) as channel,
            asyncio.TaskGroup() as calls,
        ):
            self._session, self._channel = session, channel
            kinds: Sequence[Callable[[], Awaitable[None]]]
            kinds = (self._rest_count, self._grpc_count, self._rest_share, self._grpc_share)
            began = time.monotonic()
            calls.create_task(self._look_at_health(began))
            for number in range(round(self._job.seconds * self._job.rate)):
                at = began + number / self._job.rate
                await asyncio.sleep(at - time.monotonic())
                calls.create_task(self._timed(kinds[number % len(kinds)](), at))
        return self._noticed

    async def _timed(self, call: Awaitable[None], began: float) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            why = failure.code().name
        except TimeoutError:
            why = "DEADLINE_EXCEEDED"
        except (aiohttp.ClientError, OSError) as error:
            why = str(error) if isinstance(error, _Refused) else type(error).__name__
        else:
            why = ""
        if why:
            self._noticed.failed[why] = self._noticed.failed.get(why, 0) + 1
        if not why or why == "DEADLINE_EXCEEDED":
            self._noticed.ms.append((time.monotonic() - began) * 1000)

    async def _rest_count(self) -> None:
        await self._rest("GET", f"{_PATH}/count", None)

    async def _rest_share(self) -> None:
        backup, recipient = self._shared()
        await self._rest("POST", _PATH, {"shared": {"to_project_ids": [recipient], "backup_id": backup}})

    async def _rest(self, method: str, path: str, body: object) -> None:
        headers = {"X-Auth-Token": self._token()}
        async with self._session.request(method, path, json=body, headers=headers) as response:
            text = await response.text()
            if response.status != 200:
                raise _Refused(f"HTTP {response.status} {text}")

    async def _grpc_count(self) -> None:
        await self._grpc(COUNT, pb.CountSharingsRequest(project_id=OTHER).SerializeToString())

    async def _grpc_share(self) -> None:
        backup, recipient = self._shared()
        shared = pb.BackupRecipients(to_project_ids=[recipient], backup_id=backup)
        await self._grpc(SHARE, pb.ShareBackupRequest(project_id=OTHER, shared=shared).SerializeToString())

    async def _grpc(self, path: str, request: bytes) -> None:
        metadata = (("x-auth-token", self._token()),)
        if not self._job.fresh:
            await self._method(self._channel, path)(request, metadata=metadata, timeout=PATIENCE)
            return
        async with grpc.aio.insecure_channel(self._job.grpc, options=self._options) as channel:
            await self._method(channel, path)(request, metadata=metadata, timeout=PATIENCE)

    def _method(self, channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        return method

    def _shared(self) -> tuple[str, str]:
        return OTHER_BACKUPS[next(self._numbers) % len(OTHER_BACKUPS)], secrets.token_hex(16)

    def _token(self) -> str:
        return f"good-{OTHER}-member-{secrets.token_hex(8)}" if self._job.keystone else OTHER_TOKEN

    async def _look_at_health(self, began: float) -> None:
        while time.monotonic() < began + self._job.seconds:
            try:
                answer = await self._method(self._channel, HEALTH)(b"", timeout=1.0)
                is_serving = health_pb2.HealthCheckResponse.FromString(answer).status == 1
            except grpc.aio.AioRpcError:
                is_serving = False
            self._noticed.unhealthy += not is_serving
            await asyncio.sleep(1.0)


class _Refused(aiohttp.ClientError):
    """Answered, but not with 200."""


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        noticed = await Others(Job(**json.loads(line))).run()
        print(json.dumps(asdict(noticed)), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
