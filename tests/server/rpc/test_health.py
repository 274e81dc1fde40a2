"""Health: without a token, depends on the store, and replies within the server's time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backup_sharing.errors import Failure, StoredDataUnreadable, Unavailable
from backup_sharing.rpc import health as rpc_health
from backup_sharing.rpc.health import Health
from backup_sharing.rpc.standard.newer_protos import NewerProtos
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import channel_to

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
OURS = "backupsharing.v2.BackupSharingService"
PATIENCE = 30.0

Stub = Any
"""A generated stub; the library has no types."""


class Pinged:
    """The part of a store that the health service uses."""

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.looks = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def ping(self) -> None:
        self.looks += 1
        await self.may_end.wait()
        if self.failure:
            raise self.failure


@pytest.fixture
def pinged() -> Pinged:
    return Pinged()


@pytest.fixture
def health(pinged: Pinged) -> Health:
    return Health(pinged, [OURS])  # type: ignore[arg-type]  # the part of a store that is used


@pytest_asyncio.fixture
async def stub(health: Health) -> AsyncIterator[Stub]:
    handler = rpc_health.handler(health, Traffic())
    async with channel_to(lambda server: server.add_generic_rpc_handlers((handler,))) as channel:
        yield health_pb2_grpc.HealthStub(channel)


async def checked(stub: Stub, service: str = "") -> int:
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
    status: int = answer.status
    return status


async def test_an_unknown_service_is_not_found(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await checked(stub, "no.such.Service")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("failure", [Unavailable("locked"), StoredDataUnreadable("damaged")])
async def test_a_server_whose_store_fails_is_not_serving(stub: Stub, pinged: Pinged, failure: Failure) -> None:
    pinged.failure = failure
    assert await checked(stub) == NOT_SERVING


async def test_a_server_that_drains_is_not_serving(stub: Stub, health: Health) -> None:
    health.drain()
    assert await checked(stub, OURS) == NOT_SERVING


async def test_a_server_is_serving_again_when_its_store_is_back(
    stub: Stub, pinged: Pinged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.rpc.health.LOOK_SECONDS", 0.0)
    pinged.failure = Unavailable("locked")
    await checked(stub)
    pinged.failure = None
    assert await checked(stub) == SERVING


@pytest.mark.parametrize("service", ["", OURS])
async def test_a_server_is_serving_without_a_token(stub: Stub, service: str) -> None:
    assert await checked(stub, service) == SERVING


async def listed(channel: grpc.aio.Channel) -> dict[str, int]:
    """Call List; the messages are made here, as the library does not have them."""
    call: Stub = channel.unary_unary("/grpc.health.v1.Health/List")
    pool = NewerProtos()
    response: Any = GetMessageClass(pool.FindMessageTypeByName("grpc.health.v1.HealthListResponse"))
    statuses = response.FromString(await call(b"", timeout=PATIENCE)).statuses
    return {service: statuses[service].status for service in statuses}


async def test_list_has_the_status_of_each_service(health: Health, pinged: Pinged) -> None:
    handler = rpc_health.handler(health, Traffic())
    async with channel_to(lambda server: server.add_generic_rpc_handlers((handler,))) as channel:
        assert await listed(channel) == {"": SERVING, OURS: SERVING}
        assert health.is_watched
        health.drain()
        assert await listed(channel) == {"": NOT_SERVING, OURS: NOT_SERVING}
    assert pinged.looks == 1


def test_a_list_has_the_bytes_of_the_published_proto() -> None:
    # map<string, HealthCheckResponse> statuses = 1: an entry has the key in field 1 and the message in field 2.
    assert NewerProtos().listed({"a": 2}) == b"\x0a\x07\x0a\x01a\x12\x02\x08\x02"


async def test_a_watched_server_says_at_once_that_it_drains(
    stub: Stub, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.rpc.health.WATCH_SECONDS", 10 * PATIENCE)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert (await watch.read()).status == SERVING
    health.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


async def test_whoever_watches_is_known_until_the_watch_ends(stub: Stub, health: Health) -> None:
    assert not health.is_watched
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert (await watch.read()).status == SERVING
    assert health.is_watched
    watch.cancel()
    async with asyncio.timeout(PATIENCE):
        while health.is_watched:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_whoever_asks_now_and_then_counts_as_watching(
    stub: Stub, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    await checked(stub)
    assert health.is_watched
    monkeypatch.setattr("backup_sharing.rpc.health._WATCH_MEMORY_SECONDS", 0.0)
    await checked(stub)
    assert not health.is_watched


async def test_a_watch_begun_while_the_server_drains_ends_too(stub: Stub, health: Health) -> None:
    health.drain()
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert [answer.status async for answer in watch] == [NOT_SERVING]


async def test_a_watch_reports_a_change_of_the_store_once(
    stub: Stub, pinged: Pinged, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backup_sharing.rpc.health.WATCH_SECONDS", 0.01)
    monkeypatch.setattr("backup_sharing.rpc.health.LOOK_SECONDS", 0.0)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    seen = [(await watch.read()).status]
    pinged.failure = Unavailable("locked")
    seen.append((await watch.read()).status)
    pinged.failure = None
    seen.append((await watch.read()).status)
    assert seen == [SERVING, NOT_SERVING, SERVING]


async def test_a_watch_of_an_unknown_service_stays_open(stub: Stub) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=PATIENCE)
    assert (await watch.read()).status == SERVICE_UNKNOWN
    assert not watch.done()
    watch.cancel()


async def test_a_watch_whose_caller_goes_away_ends(health: Health) -> None:
    watching = health.Watch(health_pb2.HealthCheckRequest(), None)  # type: ignore[arg-type]  # the context is not used
    await anext(watching)
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_all_who_ask_share_one_look_at_the_store(stub: Stub, pinged: Pinged) -> None:
    pinged.may_end.clear()
    asking = [asyncio.create_task(checked(stub)) for _ in range(100)]
    watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE) for _ in range(5)]
    asking += [asyncio.create_task(_first(watch)) for watch in watches]
    async with asyncio.timeout(PATIENCE):
        while not pinged.looks:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    pinged.may_end.set()
    assert set(await asyncio.gather(*asking)) == {SERVING}
    for watch in watches:
        watch.cancel()
    assert pinged.looks <= 2  # a slow machine may exceed the second for which a result is valid


async def _first(watch: Stub) -> int:
    status: int = (await watch.read()).status
    return status


async def test_who_asks_no_longer_does_not_end_the_look(stub: Stub, pinged: Pinged) -> None:
    pinged.may_end.clear()
    gone = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    async with asyncio.timeout(PATIENCE):
        while not pinged.looks:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    stays = asyncio.create_task(checked(stub))
    gone.cancel()
    pinged.may_end.set()
    assert await stays == SERVING


async def test_a_peer_may_have_so_many_watches(stub: Stub) -> None:
    watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE) for _ in range(32)]
    assert [(await watch.read()).status for watch in watches] == [SERVING] * 32
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE).read()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()


async def test_the_name_of_an_unknown_service_is_shortened(stub: Stub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await checked(stub, "s" * 5000)
    assert len(refused.value.details() or "") < 200
