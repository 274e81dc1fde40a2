"""Clients that watch all events of a project, and resume elsewhere by their last cursor whenever their watch ends."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc

from backupsharing.v2 import backup_access_pb2 as pb
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from tests.support.programs import PATIENCE
from tests.support.system import SERVICE_TOKEN, Project
from tests.support.watching import NotOpened, Record, watching
from tests.system.e2e.watches.cluster import Cluster

_PAUSE = 0.05
"""Seconds before a follower resumes."""

_RESUMABLE = "VolumeBackup.0900"
"""Documented code of 503."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Values of an event, as a follower keeps them and the database has them."""

    position: int
    kind: str
    sharing_id: str
    """Empty: an event of the backup."""


def position_of(cursor: str) -> int:
    """Return the position of a cursor in the order of all events."""
    return int(cursor.partition(":")[2])


class Broken(Exception):
    """A watch has ended in a way that a client must survive."""


class Follower(ABC):
    """Watches from the beginning; each further watch is at the next address."""

    def __init__(self, addresses: Sequence[str], project: Project) -> None:
        self.seen: list[Seen] = []
        self.resumed = 0
        """Number of times that the watch was resumed after an event."""
        self.ended = 0
        """Number of times that a watch ended, or could not begin."""
        self.cursor = ""
        self._addresses, self._project = addresses, project
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled; raise whatever a client need not survive."""
        number = 0
        while True:
            before = len(self.seen)
            try:
                await self._watch(self._addresses[number % len(self._addresses)])
            except Broken:
                self.ended += 1
            self.resumed += len(self.seen) > before
            self._changed.set()
            number += 1
            await asyncio.sleep(_PAUSE)

    async def until(self, is_enough: Callable[[Follower], bool]) -> None:
        """Wait until the events that were seen are enough."""
        async with asyncio.timeout(PATIENCE):
            while not is_enough(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_more(self, number: int = 10) -> None:
        """Wait for some more events."""
        wanted = len(self.seen) + number
        await self.until(lambda follower: len(follower.seen) >= wanted)

    @abstractmethod
    async def _watch(self, address: str) -> None:
        """Watch after the last cursor until the watch ends; raise Broken if it ends as a client must expect."""

    def _take(self, cursor: str, kind: str, sharing_id: str) -> None:
        """Keep the cursor of a message and its event; no kind: a checkpoint."""
        assert not self.cursor or position_of(cursor) >= position_of(self.cursor), "a cursor went back"
        self.cursor = cursor
        if kind:
            self.seen.append(Seen(position_of(cursor), kind, sharing_id))
            self._changed.set()


class GrpcFollower(Follower):
    """Watches at a server."""

    async def _watch(self, address: str) -> None:
        project_id, token = self._caller()
        request = pb.WatchSharingsRequest(project_id=project_id, cursor=self.cursor, from_beginning=True)
        metadata = [("x-auth-token", token)]
        async with grpc.aio.insecure_channel(address) as channel:
            try:
                async for message in BackupAccessServiceStub(channel).WatchSharings(request, metadata=metadata):
                    self._take(message.cursor, message.event.kind, message.event.sharing_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                raise Broken from error
        raise AssertionError("the watch ended without a status")

    def _caller(self) -> tuple[str, str]:
        """Return the project to watch, and the token of the caller."""
        return self._project.id, self._project.token


class ServiceFollower(GrpcFollower):
    """Watches all projects at a server."""

    def _caller(self) -> tuple[str, str]:
        return "", SERVICE_TOKEN


class RestFollower(Follower):
    """Watches through a gateway."""

    is_sse: bool

    async def _watch(self, address: str) -> None:
        query, headers = self._resume()
        path, token = self._project.path, self._project.token
        try:
            async with watching(address, path, token, query, sse=self.is_sse, headers=headers) as stream:
                while record := await stream.record():
                    self._record(record)
        except NotOpened as refused:
            if refused.status != 503:
                raise
            raise Broken from refused
        except (OSError, EOFError) as error:
            raise Broken from error
        raise AssertionError("the stream ended without saying why")

    def _record(self, record: Record) -> None:
        if "error" in record.body:
            assert record.body["error"]["code"] == _RESUMABLE, record
            raise Broken
        assert record.id == (record.body["cursor"] if self.is_sse else "")
        event = record.event or {}
        self._take(record.body["cursor"], event.get("kind", ""), event.get("sharing_id") or "")

    def _resume(self) -> tuple[str, dict[str, str]]:
        """Return query and headers of the next watch."""
        raise NotImplementedError


class SseFollower(RestFollower):
    """Resumes as browsers do: the same URL, with the last id in a header."""

    is_sse = True

    def _resume(self) -> tuple[str, dict[str, str]]:
        return "from_beginning=true", {"Last-Event-ID": self.cursor} if self.cursor else {}


class NdjsonFollower(RestFollower):
    """Resumes with a cursor in the URL."""

    is_sse = False

    def _resume(self) -> tuple[str, dict[str, str]]:
        return f"cursor={self.cursor}" if self.cursor else "from_beginning=true", {}


@asynccontextmanager
async def following(cluster: Cluster) -> AsyncIterator[list[Follower]]:
    """Follow the giver, who makes all events, over gRPC, as server-sent events and as lines; nobody begins alike."""
    gateways = [gateway.address for gateway in cluster.gateways]
    followers: list[Follower] = [
        GrpcFollower(cluster.addresses, cluster.giver),
        ServiceFollower(cluster.addresses[::-1], cluster.giver),
        *(SseFollower(addresses, cluster.giver) for addresses in (gateways, gateways[::-1])),
        *(NdjsonFollower(addresses, cluster.giver) for addresses in (gateways, gateways[::-1])),
    ]
    async with AsyncExitStack() as stack:
        for follower in followers:
            task = asyncio.create_task(follower.run())
            stack.push_async_callback(_end, task)
        yield followers


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a follower; raise what ended it before."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
