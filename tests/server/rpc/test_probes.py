"""Probes of a running server: the admin port, and the port that has only health."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backup_sharing import app, readyz
from backup_sharing.config import Settings
from backup_sharing.identity.state import ProviderState
from backup_sharing.identity.static import add_token
from backup_sharing.rpc.health import Health
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc
from programkit.admin_http.readyz import Condition
from programkit.admin_port import CannotServeAdmin
from programkit.process.lifetime import Lifetime
from tests.server.identities import GIVER
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Stub = Any
"""A generated stub; the libraries have no types."""


class UntilTold(Lifetime):
    """A lifetime that ends when the test sets ``stop``."""

    def __init__(self) -> None:
        super().__init__()
        self.serving, self.stop = asyncio.Event(), asyncio.Event()

    async def stopping(self) -> None:
        self.serving.set()
        await self.stop.wait()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    add_token(tmp_path / "tokens.json", GIVER, ["member"], "gina", None, token="giver-token")
    return Settings(
        database=str(tmp_path / "sharings.db"),
        tokens=tmp_path / "tokens.json",
        grpc_listen=free_address(),
        health_listen=free_address(),
        admin_listen=free_address(),
    )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[UntilTold]:
    lifetime = UntilTold()
    task = asyncio.create_task(app.serve(settings, lifetime))
    started = asyncio.create_task(lifetime.serving.wait())
    await asyncio.wait((task, started), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield lifetime
    finally:
        lifetime.stop.set()
        async with asyncio.timeout(PATIENCE):
            await task


async def page(address: str | None, path: str) -> tuple[int, dict[str, Any]]:
    assert address is not None
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)


async def test_a_server_that_serves_is_ready_with_all_checks(settings: Settings) -> None:
    async with serving(settings):
        status, document = await page(settings.admin_listen, "/readyz?verbose")
        assert (status, document["status"]) == (200, "ready")
        assert {one["name"]: one["ok"] for one in document["checks"]} == {
            "store": True, "schema": True, "identity": True, "draining": True
        }  # fmt: skip
        identity = next(one for one in document["checks"] if one["name"] == "identity")
        assert identity["details"] == {"providers": [{"name": "tokens", "problem": ""}]}
        assert (await page(settings.admin_listen, "/livez"))[0] == 200


async def test_a_polled_server_drains_with_notice_and_reason(settings: Settings) -> None:
    settings = settings.model_copy(update={"drain_notice": PATIENCE})
    with contextlib.suppress(asyncio.CancelledError):
        lifetime = UntilTold()
        task = asyncio.create_task(app.serve(settings, lifetime))
        await lifetime.serving.wait()
        assert (await page(settings.admin_listen, "/readyz"))[0] == 200
        lifetime.stop.set()
        while (found := await page(settings.admin_listen, "/readyz"))[0] == 200:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
        assert (found[0], found[1]["status"]) == (503, "draining")
        assert (await page(settings.admin_listen, "/livez"))[0] == 200
        assert await checked(settings.health_listen) == NOT_SERVING
        task.cancel()  # instead of a wait for the end of the notice
        await task


async def checked(address: str | None) -> int:
    async with grpc.aio.insecure_channel(str(address)) as channel:
        stub: Stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        answer = await stub.Check(request, wait_for_ready=True, timeout=PATIENCE)
        status: int = answer.status
        return status


async def test_the_health_port_has_nothing_but_health(settings: Settings) -> None:
    async with serving(settings), grpc.aio.insecure_channel(str(settings.health_listen)) as channel:
        assert await checked(settings.health_listen) == SERVING
        stub: Stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
        others = [
            stub.CountSharings(
                pb.CountSharingsRequest(), metadata=(("x-auth-token", "giver-token"),), timeout=PATIENCE
            ),
            channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(b"", timeout=PATIENCE),
            channel.unary_unary("/multiplex.v1.MultiplexService/Multiplex")(b"", timeout=PATIENCE),
        ]
        for call in others:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_needs_no_certificate_where_calls_need_one(settings: Settings, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("server", "127.0.0.1")
    tls = {"tls_certificate": certificate, "tls_key": key, "client_ca": certificates.ca}
    async with serving(settings.model_copy(update=tls)):
        assert await checked(settings.health_listen) == SERVING
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        async with grpc.aio.secure_channel(settings.grpc_listen, credentials) as channel:
            stub: Stub = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)


@pytest.mark.parametrize(
    ("setting", "failure"), [("admin_listen", CannotServeAdmin), ("health_listen", app.CannotListen)]
)
async def test_a_taken_probe_port_stops_the_start(settings: Settings, setting: str, failure: type[Exception]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(failure, match=f"{address}: cannot listen there"):
            await app.serve(settings.model_copy(update={setting: address}), UntilTold())
    files = {path.name for path in settings.tokens.parent.iterdir()} if settings.tokens else set()
    assert "sharings.db-wal" not in files
    assert setting == "health_listen" or files == {"tokens.json"}


class StoreOfMigrations:
    """The part of a store that the check of the schema uses."""

    def __init__(self, missing: list[str] | None) -> None:
        self.missing_migrations = missing


class HealthOfStore:
    """The part of the health service that the check of the store uses."""

    def __init__(self, problem: str | None) -> None:
        self._problem = problem

    async def store_problem(self) -> str | None:
        return self._problem


async def conditions(
    *, problem: str | None = None, missing: list[str] | None, identity: str = ""
) -> dict[str, Condition]:
    health: Health = HealthOfStore(problem)  # type: ignore[assignment]
    store: Any = StoreOfMigrations(missing)
    states = [lambda: ProviderState("tokens"), lambda: ProviderState("keystone", identity)]
    return {name: await check() for name, check in readyz.checks(health, store, states).items()}


async def test_a_store_that_fails_has_its_reason() -> None:
    found = await conditions(problem="The disk fails.", missing=None)
    assert found["store"] == Condition(ok=False, reason="The disk fails.")
    assert not found["schema"].ok


async def test_missing_migrations_are_named() -> None:
    found = await conditions(missing=["0007_more", "0008_most"])
    assert not found["schema"].ok
    assert "0007_more, 0008_most" in found["schema"].reason


async def test_a_dead_identity_service_degrades_and_no_more() -> None:
    found = await conditions(missing=[], identity="Keystone does not work.")
    assert (found["identity"].ok, found["identity"].reason) == (True, "Keystone does not work.")
    assert all(one.ok for one in found.values())
