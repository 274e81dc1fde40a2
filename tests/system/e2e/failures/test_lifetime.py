"""Start and stop: invalid settings, first and second signal."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Program, Programs
from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.stub_server import StubServer
from tests.support.system import Project, System, write_tokens
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

GATEWAY_PATH = "/v2/project/os-vendor-backup-sharing/count"


def begin_share(system: System, giver: Project, backup_id: str) -> grpc.Future:
    """Start a share that waits for the database lock; return once the server has received it."""
    metadata = [("x-auth-token", giver.token)]
    recipients = pb.BackupRecipients(backup_id=backup_id, to_project_ids=["recipient"])
    call = system.sharings.ShareBackup.future(
        pb.ShareBackupRequest(project_id=giver.id, shared=recipients), metadata=metadata, timeout=PATIENCE
    )
    # Reads overtake the waiting change on the same connection.
    system.sharings.CountSharings(pb.CountSharingsRequest(project_id=giver.id), metadata=metadata)
    assert not call.done()
    return call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_the_server_finish_its_calls(own_system: System, number: signal.Signals) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    with own_system.locked():
        call = begin_share(own_system, giver, backup_id)
        own_system.server.signal(number)
        await asyncio.to_thread(own_system.server.wait_for, '"event":"draining"')
        answer = await own_system.rest.call("GET", f"{giver.path}/count", token=giver.token)
        assert_failure(answer, 503, "VolumeBackup.0900")
        assert own_system.server.is_running
    (sharing,) = (await asyncio.to_thread(call.result, PATIENCE)).shared
    own_system.close()  # an idle client that does not read would delay the server's end
    assert await asyncio.to_thread(own_system.server.wait) == 0
    assert [row[0] for row in own_system.rows(backup_id)] == [sharing.id]


async def test_the_second_signal_ends_the_server_storing_nothing(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    with own_system.locked():
        call = begin_share(own_system, giver, backup_id)
        own_system.server.signal(signal.SIGTERM)
        await asyncio.to_thread(own_system.server.wait_for, '"event":"draining"')
        own_system.server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(own_system.server.wait) == 128 + signal.SIGTERM
    assert await asyncio.to_thread(call.exception, PATIENCE) is not None
    assert own_system.rows(backup_id) == []


async def held_request(programs: Programs, stub: StubServer) -> tuple[Program, asyncio.Task[Answer]]:
    """Start a gateway; return it with a request in progress."""
    rest = Rest(free_address())
    gateway = await asyncio.to_thread(programs.gateway, rest.address, stub.address)
    stub.holds(pb.CountSharingsResponse(count=7).SerializeToString())
    request = asyncio.ensure_future(rest.call("GET", GATEWAY_PATH))
    await asyncio.to_thread(stub.wait_until_held)
    return gateway, request


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_lets_the_gateway_finish_its_requests(
    programs: Programs, stub: StubServer, number: signal.Signals
) -> None:
    gateway, request = await held_request(programs, stub)
    gateway.signal(number)
    await asyncio.to_thread(gateway.wait_for, '"event":"draining"')
    stub.release()
    assert assert_success(await request) == {"count": 7}
    assert await asyncio.to_thread(gateway.wait) == 0


async def test_the_second_signal_ends_the_gateway_at_once(programs: Programs, stub: StubServer) -> None:
    gateway, request = await held_request(programs, stub)
    gateway.signal(signal.SIGINT)
    await asyncio.to_thread(gateway.wait_for, '"event":"draining"')
    gateway.signal(signal.SIGINT)
    assert await asyncio.to_thread(gateway.wait) == 128 + signal.SIGINT
    with pytest.raises(asyncio.IncompleteReadError):
        await request


async def test_both_programs_end_when_their_parent_is_gone(own_system: System) -> None:
    for program in (own_system.gateway, own_system.server):
        program.close_stdin()
        assert await asyncio.to_thread(program.wait) == 0


def test_the_server_is_healthy_with_its_store_without_a_token(own_system: System) -> None:
    stub = health_pb2_grpc.HealthStub(own_system.channel)
    for service in ("", "backupsharing.v2.BackupSharingService", "backupsharing.v2.BackupCatalogService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with own_system.locked():
        until = time.monotonic() + PATIENCE  # a health result is cached for one second
        while stub.Check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [
        (
            "server",
            ("--grpc-listen", "nowhere", "--max-recipients", "0"),
            ("--grpc-listen (BACKUP_SHARING_GRPC_LISTEN)", "--max-recipients", "--database", "--tokens"),
        ),
        (
            "gateway",
            ("--listen", "nowhere", "--timeout", "-1", "--public-url", "ftp://x", "--trusted-proxy", "here"),
            ("--listen (BACKUP_SHARING_LISTEN)", "--timeout", "--public-url", "--trusted-proxy"),
        ),
    ],
)
def test_all_bad_settings_are_listed_at_once(
    programs: Programs, module: str, arguments: tuple[str, ...], named: tuple[str, ...]
) -> None:
    program = programs.start(module, *arguments)
    assert program.wait() == 2
    for setting in named:
        assert setting in program.printed
    assert "Traceback" not in program.printed


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("server", ("--database", "d.db", "--tokens", "none")), ("gateway", ("--descriptor-set", "none"))],
)
def test_a_misspelt_variable_is_logged_without_its_value(module: str, arguments: tuple[str, ...]) -> None:
    with Programs(BACKUP_SHARING_DRAIN_TIMOUT="hunter2", BACKUP_SHARING_TOKEN="secret") as programs:
        program = programs.start(module, *arguments)
        assert program.wait() == 2
    warning = json.loads(program.printed.splitlines()[0])
    assert warning["event"] == "unknown environment variable"
    assert warning["variable"] == "BACKUP_SHARING_DRAIN_TIMOUT"
    assert warning["did_you_mean"] == "BACKUP_SHARING_DRAIN_TIMEOUT"
    assert "hunter2" not in program.printed
    assert "BACKUP_SHARING_TOKEN" not in program.printed


@pytest.mark.parametrize("module", ["server", "gateway"])
def test_a_port_in_use_is_named(programs: Programs, tmp_path: Path, module: str) -> None:
    write_tokens(tmp_path, [])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        files = ("--database", str(tmp_path / "sharings.db"), "--tokens", str(tmp_path / "tokens.json"))
        arguments = {"server": ("--grpc-listen", address, *files), "gateway": ("--listen", address)}
        program = programs.start(module, *arguments[module])
        assert program.wait() == 2
    *logged, message = program.printed.splitlines()
    assert f"{address}: cannot listen there" in message
    assert {json.loads(line)["event"] for line in logged} <= {"server"}  # the server behind a gateway is away


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_file_that_is_no_token_file_is_named(programs: Programs, tmp_path: Path, content: bytes) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_bytes(content)
    database = tmp_path / "sharings.db"
    arguments = ("--grpc-listen", free_address(), "--database", str(database), "--tokens", str(tokens))
    program = programs.start("server", *arguments)
    assert program.wait() == 2
    assert str(tokens) in program.printed
    assert "Traceback" not in program.printed


def test_a_database_of_a_newer_version_is_refused(programs: Programs, tmp_path: Path) -> None:
    system = System(tmp_path, programs, 1)
    system.close()
    system.server.end()
    with closing(sqlite3.connect(tmp_path / "sharings.db", isolation_level=None)) as connection:
        connection.execute("UPDATE _sqlite_migrations SET name = '9999_from_the_future' WHERE name LIKE '0001%'")
    files = ("--database", str(tmp_path / "sharings.db"), "--tokens", str(tmp_path / "tokens.json"))
    program = programs.start("server", "--grpc-listen", free_address(), *files)
    assert program.wait() == 2
    assert "newer version" in program.printed
