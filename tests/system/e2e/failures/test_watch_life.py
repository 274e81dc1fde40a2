"""Watches through servers, gateways and databases that end: a client that resumes misses nothing."""

from __future__ import annotations

import asyncio
import signal

import grpc
import psutil
import pytest

from backupsharing.v2 import backup_access_pb2 as pb
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Programs
from tests.support.rest import Rest
from tests.support.system import SERVICE_TOKEN, Project, System
from tests.support.watching import Watching, watching

pytestmark = pytest.mark.resilience

SERVICE = [("x-auth-token", SERVICE_TOKEN)]


@pytest.fixture
def giver(own_system: System) -> Project:
    return own_system.new_project()


@pytest.fixture
def backup_id(own_system: System, giver: Project) -> str:
    return own_system.put_backup(giver)


async def ended(stream: Watching) -> None:
    """Wait for the end of the stream; assert that it says that the client can come again."""
    last = await stream.record()
    assert last is not None
    assert last.name == "error"
    assert last.body["error"]["code"] == "VolumeBackup.0900"
    assert await stream.record() is None


async def test_a_drained_server_ends_a_watch_that_resumes_elsewhere(
    own_system: System, programs: Programs, giver: Project, backup_id: str
) -> None:
    address, rest = free_address(), Rest(free_address())
    await asyncio.to_thread(own_system.start_another, address)
    await asyncio.to_thread(programs.gateway, rest.address, f"{own_system.grpc_address},{address}")
    async with watching(own_system.rest.address, giver.path, giver.token) as stream:
        assert await stream.record() is not None
        await own_system.share(giver, backup_id, "one")
        seen = await stream.event()
        own_system.server.signal(signal.SIGTERM)
        await ended(stream)
    own_system.close()
    assert await asyncio.to_thread(own_system.server.wait) == 0
    assert "Traceback" not in own_system.server.printed
    body = {"shared": {"to_project_ids": ["two"], "backup_id": backup_id}}
    answer = await rest.call("POST", giver.path, token=giver.token, body=body)
    assert answer.status == 200, answer
    async with watching(rest.address, giver.path, giver.token, headers={"Last-Event-ID": seen.id}) as stream:
        assert (await stream.event()).event["to_project_id"] == "two"


async def test_a_killed_server_ends_a_watch_that_resumes_later(
    own_system: System, giver: Project, backup_id: str
) -> None:
    async with watching(own_system.rest.address, giver.path, giver.token, "from_beginning=true") as stream:
        seen = await stream.event()
        own_system.server.signal(signal.SIGKILL)
        await asyncio.to_thread(own_system.server.wait)
        last = await stream.record()
        assert last is not None
        assert last.name == "error"
    await asyncio.to_thread(own_system.start_server)
    while (await own_system.share(giver, backup_id, "one")).status != 200:
        pass
    async with watching(own_system.rest.address, giver.path, giver.token, f"cursor={seen.id}") as stream:
        assert (await stream.event()).event["to_project_id"] == "one"


async def test_a_drained_gateway_ends_its_watches(own_system: System, giver: Project) -> None:
    async with watching(own_system.rest.address, giver.path, giver.token) as stream:
        assert await stream.record() is not None
        own_system.gateway.signal(signal.SIGTERM)
        await ended(stream)


WARM_ROUNDS, ROUNDS, AT_ONCE = 4, 20, 90
MOST_GROWTH = 8 * 1024 * 1024
"""Bytes; each of the watches would need some kilobytes if it stayed."""


async def test_memory_is_flat_after_watches_opened_and_dropped(own_system: System, giver: Project) -> None:
    process = psutil.Process(own_system.server.pid)
    sizes = []
    for _ in range(WARM_ROUNDS + ROUNDS):
        async with grpc.aio.insecure_channel(own_system.grpc_address) as channel:
            stub = BackupAccessServiceStub(channel)
            request = pb.WatchSharingsRequest(project_id=giver.id)
            calls = [stub.WatchSharings(request, metadata=[("x-auth-token", giver.token)]) for _ in range(AT_ONCE)]
            for call in calls:
                async with asyncio.timeout(PATIENCE):
                    assert not (await call.read()).HasField("event")
            for call in calls:
                call.cancel()
        sizes.append(process.memory_info().rss)
    assert sizes[-1] - sizes[WARM_ROUNDS] < MOST_GROWTH, sizes
