"""`backup_sharing.app`: the wired server, its start and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from backup_sharing import app
from backup_sharing.config import Settings
from backup_sharing.identity.interface import LONGEST_TOKEN
from backup_sharing.identity.static import BadTokenFile, add_token, digest
from backup_sharing.identity.token_file.changing import revoke_tokens
from backup_sharing.identity.token_file.last_use import read_last_use
from backup_sharing.store.unusable import UnusableDatabase
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc
from programkit.process.lifetime import Lifetime
from tests.server.failure_details import failure_details_of
from tests.server.identities import GIVER

PATIENCE = 30.0
EAGER = (("grpc.initial_reconnect_backoff_ms", 20), ("grpc.min_reconnect_backoff_ms", 20))
"""Short reconnect pauses, because the server is just starting."""

Stub = Any
"""A generated stub; the libraries have no types."""


class UntilTold(Lifetime):
    """A lifetime that ends when the test sets ``stop``."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = asyncio.Event()

    async def stopping(self) -> None:
        await self.stop.wait()


@dataclass(frozen=True, slots=True)
class Served:
    address: str
    lifetime: UntilTold
    task: asyncio.Task[None]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    add_token(tmp_path / "tokens.json", GIVER, ["member"], "gina", None, token="giver-token")
    return Settings(database=str(tmp_path / "sharings.db"), tokens=tmp_path / "tokens.json", grpc_listen="127.0.0.1:1")


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Served]:
    # The path of a socket must be short; pytest's temporary folders have long paths.
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/s"
        lifetime = UntilTold()
        task = asyncio.create_task(app.serve(settings.model_copy(update={"grpc_listen": address}), lifetime))
        try:
            async with grpc.aio.insecure_channel(address, options=EAGER) as channel:
                health = health_pb2_grpc.HealthStub(channel)
                ready = health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
                await asyncio.wait([asyncio.ensure_future(ready), task], return_when=asyncio.FIRST_COMPLETED)
            yield Served(address, lifetime, task)
        finally:
            lifetime.stop.set()
            await asyncio.wait_for(task, PATIENCE)


@pytest_asyncio.fixture
async def channel(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(settings) as served, grpc.aio.insecure_channel(served.address) as channel:
        yield channel


async def test_a_token_file_that_is_missing_stops_the_start(settings: Settings) -> None:
    bad = settings.model_copy(update={"tokens": Path("no-such-file")})
    with pytest.raises(BadTokenFile, match="no-such-file"):
        await app.serve(bad, UntilTold())


async def test_a_database_that_cannot_be_made_stops_the_start(settings: Settings) -> None:
    bad = settings.model_copy(update={"database": str(settings.tokens)})
    with pytest.raises(UnusableDatabase, match=r"tokens\.json"):
        await app.serve(bad, UntilTold())


async def test_an_address_in_use_is_named_and_the_database_released(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(app.CannotListen, match=address):
            await app.serve(settings.model_copy(update={"grpc_listen": address}), UntilTold())
    assert not Path(f"{settings.database}-wal").exists()  # noqa: ASYNC240 -- nothing else runs on the loop now


async def test_health_is_answered_without_a_token_for_each_service(channel: grpc.aio.Channel) -> None:
    stub: Stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", *app.SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    stub: Stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE):
        listed = {service.name for service in answer.list_services_response.service}
    assert listed == {
        "backupsharing.v2.BackupSharingService",
        "backupsharing.v2.BackupAccessService",
        "backupsharing.v2.BackupCatalogService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def add_files(pool: DescriptorPool, serialized: Sequence[bytes]) -> None:
    """Add files in any order, each after its imports."""
    waiting = [FileDescriptorProto.FromString(one) for one in serialized]
    known: set[str] = set()
    while waiting:
        ready = [file for file in waiting if known.issuperset(file.dependency)]
        assert ready
        for file in ready:
            pool.Add(file)
            known.add(file.name)
            waiting.remove(file)


async def test_every_listed_service_is_described(channel: grpc.aio.Channel) -> None:
    stub: Stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    async for answer in stub.ServerReflectionInfo(iter(asked), timeout=PATIENCE):
        names = [service.name for service in answer.list_services_response.service]
    symbols = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
    found: dict[str, list[str]] = {}
    async for answer in stub.ServerReflectionInfo(iter(symbols), timeout=PATIENCE):
        pool = DescriptorPool()
        add_files(pool, answer.file_descriptor_response.file_descriptor_proto)
        name = answer.original_request.file_containing_symbol
        found[name] = [method.name for method in pool.FindServiceByName(name).methods]
    assert set(found) == set(names)
    assert set(found["grpc.health.v1.Health"]) == {"Check", "List", "Watch"}
    assert found["grpc.reflection.v1.ServerReflection"] == ["ServerReflectionInfo"]


async def test_reflection_v1_answers_as_v1alpha_does(channel: grpc.aio.Channel) -> None:
    answers = []
    for name in ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"):
        call: Stub = channel.stream_stream(f"/{name}/ServerReflectionInfo")
        requests = [
            reflection_pb2.ServerReflectionRequest(host="h", list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=app.SERVICES[0]),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Service"),
            reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="google.protobuf.MethodOptions"),
            reflection_pb2.ServerReflectionRequest(),
        ]
        sent = [request.SerializeToString() for request in requests]
        answers.append([answer async for answer in call(iter(sent), timeout=PATIENCE)])
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(requests)


async def test_reflection_describes_a_service(channel: grpc.aio.Channel) -> None:
    stub: Stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=app.SERVICES[0])
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE):
        assert answer.file_descriptor_response.file_descriptor_proto


async def test_a_call_goes_all_the_way_to_the_database(channel: grpc.aio.Channel) -> None:
    stub: Stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
    request = pb.CountSharingsRequest(project_id=GIVER)
    answer = await stub.CountSharings(request, metadata=(("x-auth-token", "giver-token"),), timeout=PATIENCE)
    assert answer == pb.CountSharingsResponse(count=0)


async def test_a_reload_revokes_and_adds_tokens_of_a_running_server(settings: Settings) -> None:
    assert settings.tokens is not None
    async with serving(settings) as served, grpc.aio.insecure_channel(served.address) as channel:
        stub: Stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)

        async def code_of(token: str) -> grpc.StatusCode:
            request = pb.CountSharingsRequest(project_id=GIVER)
            return await stub.CountSharings(request, metadata=(("x-auth-token", token),), timeout=PATIENCE).code()

        assert await code_of("giver-token") is grpc.StatusCode.OK
        revoke_tokens(settings.tokens, [digest("giver-token")])
        add_token(settings.tokens, GIVER, ["member"], "gina", None, token="another")
        await served.lifetime.reloads.run()
        assert await code_of("giver-token") is grpc.StatusCode.UNAUTHENTICATED
        assert await code_of("another") is grpc.StatusCode.OK
    assert set(read_last_use(settings.tokens)) == {digest("another")}


@pytest.mark.parametrize("length", [LONGEST_TOKEN, 2 * LONGEST_TOKEN])
async def test_a_long_token_is_refused_like_any_that_is_unknown(channel: grpc.aio.Channel, length: int) -> None:
    stub: Stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
    call = stub.CountSharings(pb.CountSharingsRequest(), metadata=(("x-auth-token", "t" * length),), timeout=PATIENCE)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert failure_details_of(refused.value).reason == "TOKEN_INVALID"


async def test_a_health_watch_does_not_hold_up_the_end(settings: Settings) -> None:
    patient = settings.model_copy(update={"drain_timeout": 10 * PATIENCE})
    async with serving(patient) as served, grpc.aio.insecure_channel(served.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10 * PATIENCE)
        await watch.read()
        served.lifetime.stop.set()
        await asyncio.wait_for(served.task, PATIENCE)
