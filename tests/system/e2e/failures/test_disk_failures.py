"""SQLite server with a failing disk: responses over REST, the server's end, and the state after a restart."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backup_sharing.exit_status import DISK_FAILED
from tests.store.faulty_disk import ALWAYS, Fault, FaultyDisk, Kind, build
from tests.support.programs import PATIENCE, Programs
from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

NO_SYNC = Fault(Kind.SYNC, name="sharings.db-wal")
FULL = Fault(Kind.WRITE, errno.ENOSPC, fail=ALWAYS)
MAY_BE_STORED = "may be stored"


@dataclass(frozen=True, slots=True)
class Failing:
    """System whose disk can be made to fail, with a project and its backup."""

    system: System
    disk: FaultyDisk
    giver: Project
    backup_id: str

    async def share(self, recipient: str, **headers: str) -> Answer:
        return await self.system.share(self.giver, self.backup_id, recipient, **headers)

    def recipients(self) -> list[str]:
        return sorted(to for _, to, _ in self.system.rows(self.backup_id))

    async def again(self) -> None:
        """Start the server again; wait until the gateway reaches it."""
        await asyncio.to_thread(self.system.start_server)
        await self.served()

    async def served(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.system.list(self.giver, "limit=1")).status != 200:
                assert answer.status == 503
                await asyncio.sleep(0.05)

    async def end(self) -> int:
        return await asyncio.to_thread(self.system.server.wait)


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    disk = FaultyDisk(tmp_path / "commands")
    with Programs(**disk.environment(build(tmp_path))) as programs:
        system = System(tmp_path, programs, 1)
        giver = system.new_project()
        yield Failing(system, disk, giver, system.put_backup(giver))
        system.close()


async def test_a_share_that_does_not_sync_may_be_stored_and_ends_it(failing: Failing) -> None:
    failing.disk.break_(NO_SYNC)
    answer = await failing.share("one", Idempotency_Key="k")
    assert_failure(answer, 503, "VolumeBackup.0900")
    assert MAY_BE_STORED in str(answer.json)
    assert await failing.end() == DISK_FAILED
    lines = [json.loads(line) for line in failing.system.server.printed.splitlines()]
    assert [line["level"] for line in lines if "the disk failed" in line["event"]] == ["critical"]
    assert (failing.system.folder / "sharings.db-wal").stat().st_size > 0

    failing.disk.mend()
    await failing.again()
    assert failing.recipients() in ([], ["one"])
    assert_success(await failing.share("one", Idempotency_Key="k"))
    assert failing.recipients() == ["one"]


async def test_a_full_disk_ends_no_read_and_no_server(failing: Failing) -> None:
    assert_success(await failing.share("one"))
    failing.disk.break_(FULL)
    for _ in range(3):
        answer = await failing.share("two")
        assert_failure(answer, 503, "VolumeBackup.0900")
        assert MAY_BE_STORED not in str(answer.json)
        assert await failing.system.count(failing.giver) == 1
    failing.disk.mend()
    assert_success(await failing.share("two"))
    failing.system.server.signal(signal.SIGKILL)
    await failing.end()
    assert failing.recipients() == ["one", "two"]


async def test_a_start_on_a_full_disk_serves_reads(failing: Failing) -> None:
    assert_success(await failing.share("one"))
    failing.system.server.signal(signal.SIGKILL)
    await failing.end()
    failing.disk.break_(Fault(Kind.WRITE, errno.ENOSPC, fail=ALWAYS, name="sharings.db$"))
    await failing.again()
    assert await failing.system.count(failing.giver) == 1


async def test_a_start_on_a_failing_disk_waits_until_it_works(failing: Failing) -> None:
    assert_success(await failing.share("one"))
    failing.system.server.signal(signal.SIGKILL)
    await failing.end()
    failing.disk.break_(Fault(Kind.SYNC, fail=ALWAYS, name="sharings.db-wal"))
    await asyncio.to_thread(failing.system.start_server)
    assert_failure(await failing.share("two"), 503, "VolumeBackup.0900")
    assert health(failing.system.grpc_address) == health_pb2.HealthCheckResponse.NOT_SERVING
    failing.disk.mend()
    await failing.served()
    async with asyncio.timeout(PATIENCE):  # a health result is cached for one second
        while health(failing.system.grpc_address) != health_pb2.HealthCheckResponse.SERVING:  # noqa: ASYNC110 -- a process
            await asyncio.sleep(0.05)
    assert_success(await failing.share("two"))
    assert failing.recipients() == ["one", "two"]


async def test_a_stop_before_the_recovery_leaves_all_as_it_was(failing: Failing) -> None:
    assert_success(await failing.share("one"))
    failing.system.server.signal(signal.SIGKILL)
    await failing.end()
    database, log = failing.system.folder / "sharings.db", failing.system.folder / "sharings.db-wal"
    before = database.read_bytes(), log.read_bytes()
    failing.disk.break_(Fault(Kind.SYNC, name="sharings.db-wal"))
    await asyncio.to_thread(failing.system.start_server)
    failing.disk.break_(Fault(Kind.SYNC, fail=ALWAYS, name="sharings.db-wal"))
    failing.system.server.signal(signal.SIGTERM)
    assert await failing.end() == DISK_FAILED
    assert (database.read_bytes(), log.read_bytes()) == before


def health(address: str) -> int:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    return int(answer.status)
