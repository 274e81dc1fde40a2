"""Several servers on one PostgreSQL database: changes are visible to all, and exactly one of conflicting calls wins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.ports import free_address
from tests.support.postgres.databases import new_database
from tests.support.postgres.server import PostgresServer
from tests.support.programs import PATIENCE, Programs
from tests.support.rest import Rest, assert_success
from tests.support.system import Project, System

pytestmark = pytest.mark.resilience

SERVERS = 3


class Replicas:
    """System with additional servers on its database, each with its own gateway."""

    def __init__(self, system: System, programs: Programs) -> None:
        self.system = system
        addresses = [free_address() for _ in range(SERVERS - 1)]
        self.servers = [system.server, *map(system.start_another, addresses)]
        self.addresses = [system.grpc_address, *addresses]
        self.gateways = [Rest(free_address()) for _ in self.addresses]
        for gateway, address in zip(self.gateways, self.addresses, strict=True):
            programs.gateway(gateway.address, address)


@pytest.fixture(scope="module")
def replicas(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Servers and gateways with projects for all tests of the module; tests must not stop them."""
    with Programs() as programs:
        system = System(tmp_path_factory.mktemp("system"), programs, 40, postgres=new_database(postgres))
        yield Replicas(system, programs)
        system.close()


@pytest.fixture
def giver(replicas: Replicas) -> Project:
    return replicas.system.new_project()


@pytest.fixture
def backup_id(replicas: Replicas, giver: Project) -> str:
    return replicas.system.put_backup(giver)


def share_body(backup_id: str, *recipients: str) -> dict[str, object]:
    return {"shared": {"to_project_ids": list(recipients), "backup_id": backup_id}}


async def test_of_64_identical_shares_over_three_servers_one_wins(
    replicas: Replicas, giver: Project, backup_id: str
) -> None:
    body = share_body(backup_id, "one", "two")
    calls = (
        replicas.gateways[number % SERVERS].call("POST", giver.path, token=giver.token, body=body)
        for number in range(64)
    )
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status for answer in answers) == {200: 1, 409: 63}
    (winner,) = (answer.json["shared"] for answer in answers if answer.status == 200)
    assert sorted(row[:2] for row in replicas.system.rows(backup_id)) == sorted(
        (item["id"], item["to_project_id"]) for item in winner
    )
    assert replicas.system.events(backup_id) == {"backup_put": 1, "shared": 2}


async def test_of_64_shares_with_one_key_all_get_the_first_answer(
    replicas: Replicas, giver: Project, backup_id: str
) -> None:
    body, key = share_body(backup_id, "one"), {"Idempotency-Key": "the-key"}
    calls = (
        replicas.gateways[number % SERVERS].call("POST", giver.path, token=giver.token, body=body, headers=key)
        for number in range(64)
    )
    answers = [assert_success(answer) for answer in await asyncio.gather(*calls)]
    assert all(answer == answers[0] for answer in answers)
    assert len(replicas.system.rows(backup_id)) == 1


async def test_what_one_server_acknowledged_every_other_knows_at_once(
    replicas: Replicas, giver: Project, backup_id: str
) -> None:
    for number in range(30):
        writer, reader = replicas.gateways[number % SERVERS], replicas.gateways[(number + 1) % SERVERS]
        body = share_body(backup_id, f"recipient-{number}")
        shared = assert_success(await writer.call("POST", giver.path, token=giver.token, body=body))["shared"][0]
        target = f"{giver.path}/{shared['id']}"
        assert assert_success(await reader.call("GET", target, token=giver.token))["shared"]["id"] == shared["id"]
        if number % 2:
            assert (await reader.call("DELETE", target, token=giver.token)).status == 200
            assert (await writer.call("GET", target, token=giver.token)).status == 404


async def test_a_list_begun_at_one_server_goes_on_at_the_others(
    replicas: Replicas, giver: Project, backup_id: str
) -> None:
    everyone = [f"recipient-{number}" for number in range(10)]
    body = share_body(backup_id, *everyone)
    assert_success(await replicas.gateways[0].call("POST", giver.path, token=giver.token, body=body))
    channels = [grpc.insecure_channel(address) for address in replicas.addresses]
    found, token = list[str](), ""
    for number in range(len(everyone)):
        stub = BackupSharingServiceStub(channels[number % SERVERS])
        request = pb.ListSharingsRequest(project_id=giver.id, limit=1, page_token=token)
        page = stub.ListSharings(request, metadata=[("x-auth-token", giver.token)], timeout=PATIENCE)
        found += [sharing.to_project_id for sharing in page.shared]
        token = page.next_page_token
    for channel in channels:
        channel.close()
    assert (sorted(found), token) == (everyone, "")


async def test_during_an_outage_calls_are_503_and_then_go_on(
    own_postgres: PostgresServer, programs: Programs, tmp_path: Path
) -> None:
    system = System(tmp_path, programs, 1, "--busy-timeout", "1.5", postgres=own_postgres.url)
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    assert_success(await system.share(giver, backup_id, "before"))
    await asyncio.to_thread(own_postgres.stop)
    for answer in (await system.share(giver, backup_id, "meanwhile"), await system.list(giver)):
        assert (answer.status, answer.json["error"]["code"]) == (503, "VolumeBackup.0900")
        assert int(answer.headers["Retry-After"]) >= 1
    await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(PATIENCE):
        while (await system.share(giver, backup_id, "after")).status == 503:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)
    assert [row[1] for row in system.rows(backup_id)] == ["before", "after"]
    system.close()
