"""Rolling restarts behind gateways under continuous load: no request fails."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Program, Programs
from tests.support.rest import Rest, assert_failure
from tests.support.system import READER_TOKEN, Project, System
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

READERS, WRITERS = 6, 6
UNBOUNDED = ("--max-active-sharings", "0")
SERVER_NOTICE, GATEWAY_NOTICE = ("--drain-notice", "1"), ("--drain-notice", "3")
"""The default notices; the programs of other tests give no drain notice."""


@dataclass
class Row:
    """Three servers on one database, those of the system and two more, with two gateways in front of all."""

    system: System
    addresses: list[str]
    servers: list[Program]
    gateways: list[Rest]
    multiplex: str
    """Multiplexing flag of the gateways."""
    running_gateways: dict[int, Program] = field(default_factory=dict)

    def start_gateway(self, index: int, programs: Programs) -> None:
        """Start a gateway that has ended or never ran."""
        upstream = ",".join(self.addresses)
        arguments = (self.multiplex, *GATEWAY_NOTICE)
        self.running_gateways[index] = programs.gateway(self.gateways[index].address, upstream, *arguments)

    async def restart(self, index: int) -> None:
        """Stop a server with SIGTERM and start it again."""
        self.servers[index].signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.servers[index].wait) == 0
        assert "Traceback" not in self.servers[index].printed
        await self.start(index)

    async def start(self, index: int) -> None:
        """Start a server that has ended."""
        self.servers[index] = await asyncio.to_thread(self.system.start_another, self.addresses[index])


@dataclass
class Load:
    """Continuous load with its requests and responses."""

    row: Row
    giver: Project
    backup_id: str
    has_keys: bool = False
    is_over: bool = False
    answers: list[Answer] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    asked: int = 0

    async def read(self, rest: Rest) -> None:
        """Read in a loop."""
        while not self.is_over:
            answer = await rest.call("GET", f"{self.giver.path}/count", token=self.giver.token)
            self.answers.append(answer)

    async def write(self, rest: Rest) -> None:
        """Share with a new recipient each time; without a key, a failed share cannot be retried."""
        while not self.is_over:
            self.asked += 1
            body = {"shared": {"to_project_ids": [f"recipient-{self.asked}"], "backup_id": self.backup_id}}
            headers = {"Idempotency-Key": f"key-{self.asked}"} if self.has_keys else {}
            answer = await rest.call("POST", self.giver.path, token=self.giver.token, body=body, headers=headers)
            self.answers.append(answer)
            if answer.status == 200:
                self.acknowledged.append(answer.json["shared"][0]["id"])

    def workers(self) -> list[Coroutine[None, None, None]]:
        kinds: list[tuple[int, Callable[[Rest], Coroutine[None, None, None]]]]
        kinds = [(READERS, self.read), (WRITERS, self.write)]
        gateways = self.row.gateways
        return [work(gateways[index % len(gateways)]) for number, work in kinds for index in range(number)]


@pytest.fixture(params=["--multiplex sqlite", "--no-multiplex sqlite", "--multiplex postgres"])
def row(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[Row]:
    multiplex, engine = request.param.split()
    postgres = request.getfixturevalue("database_url") if engine == "postgres" else ""
    system = System(tmp_path, programs, 1, *UNBOUNDED, *SERVER_NOTICE, postgres=postgres)
    others = [free_address(), free_address()]
    servers = [system.server, *map(system.start_another, others)]
    addresses = [system.grpc_address, *others]
    gateways = [Rest(free_address()) for _ in range(2)]
    row = Row(system, addresses, servers, gateways, multiplex)
    for index in range(len(gateways)):
        row.start_gateway(index, programs)
    yield row
    system.close()


async def test_a_rolling_restart_of_three_servers_fails_no_request(row: Row) -> None:
    giver = row.system.new_project()
    backup_id = row.system.put_backup(giver)
    row.system.close()  # an idle client that does not read would delay the server's end
    load = Load(row, giver, backup_id)
    working = [asyncio.create_task(work) for work in load.workers()]
    for index in (0, 1, 2, 0):
        await row.restart(index)
    load.is_over = True
    await asyncio.gather(*working)
    assert [answer for answer in load.answers if answer.status != 200] == []
    assert len(load.acknowledged) == load.asked > 0
    assert stored(row.system, backup_id) == sorted(load.acknowledged)


class LoadBalancer:
    """Load balancer that polls the readiness of each gateway and sends requests to ready ones only."""

    def __init__(self, gateways: list[Rest]) -> None:
        self._gateways = gateways
        self._ready = list(gateways)
        self._turn = itertools.count()

    async def watch(self) -> None:
        """Poll all gateways in a loop."""
        await asyncio.gather(*map(self._watch, self._gateways))

    async def call(self, *arguments: Any, **named: Any) -> Answer:  # noqa: ANN401 -- arguments of Rest.call
        """Send a request to a ready gateway."""
        return await self._ready[next(self._turn) % len(self._ready)].call(*arguments, **named)

    async def _watch(self, gateway: Rest) -> None:
        while True:
            # A gateway that is slow to report readiness counts as not ready.
            is_ready = False
            with suppress(OSError, TimeoutError, EOFError):
                async with asyncio.timeout(1.0):
                    is_ready = (await gateway.call("GET", "/healthz")).status == 200
            others = [each for each in self._ready if each is not gateway]
            self._ready = [*others, gateway] if is_ready or not others else others
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("row", ["--multiplex postgres"], indirect=True)
async def test_a_rolling_restart_of_two_gateways_fails_no_request(row: Row, programs: Programs) -> None:
    giver = row.system.new_project()
    backup_id = row.system.put_backup(giver)
    balancer = LoadBalancer(row.gateways)
    watching = asyncio.create_task(balancer.watch())
    load = Load(row, giver, backup_id)
    working = [asyncio.create_task(load.read(balancer)) for _ in range(READERS)]  # type: ignore[arg-type] # same methods
    working += [asyncio.create_task(load.write(balancer)) for _ in range(WRITERS)]  # type: ignore[arg-type] # same methods
    for index in (0, 1, 0):
        await asyncio.sleep(1.0)
        row.running_gateways[index].signal(signal.SIGTERM)
        assert await asyncio.to_thread(row.running_gateways[index].wait) == 0
        await asyncio.to_thread(row.start_gateway, index, programs)
    await asyncio.sleep(1.0)
    load.is_over = True
    await asyncio.gather(*working)
    watching.cancel()
    assert [answer for answer in load.answers if answer.status != 200] == []
    assert len(load.acknowledged) == load.asked > 0
    assert stored(row.system, backup_id) == sorted(load.acknowledged)


@pytest.mark.parametrize("has_keys", [True, False])
async def test_a_killed_server_fails_only_changes_without_a_key(row: Row, has_keys: bool) -> None:
    giver = row.system.new_project()
    backup_id = row.system.put_backup(giver)
    row.system.close()  # an idle client that does not read would delay the server's end
    load = Load(row, giver, backup_id, has_keys)
    working = [asyncio.create_task(work) for work in load.workers()]
    for index in (1, 2):
        await asyncio.sleep(1.0)
        row.servers[index].signal(signal.SIGKILL)
        await asyncio.to_thread(row.servers[index].wait)
        await row.start(index)
    await asyncio.sleep(1.0)
    load.is_over = True
    await asyncio.gather(*working)
    failed = [answer for answer in load.answers if answer.status != 200]
    found = stored(row.system, backup_id)
    for answer in failed:
        assert_failure(answer, 503, "VolumeBackup.0900")
    assert len(failed) == load.asked - len(load.acknowledged) <= (0 if has_keys else 2 * WRITERS)
    assert set(load.acknowledged) <= set(found)
    assert len(found) <= load.asked


def stored(system: System, backup_id: str) -> list[str]:
    """Return the ids of all sharings of a backup, including ended ones."""
    return [row[0] for row in system.rows(backup_id)]


def drained(system: System, *, watched: bool) -> tuple[bool, float]:
    """Stop a server; return whether it still serves a call while draining, and the seconds until its end."""
    if watched:
        watch = HealthStub(system.channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch).status == HealthCheckResponse.SERVING
    count = partial(system.sharings.CountSharings, pb.CountSharingsRequest(project_id=system.documented_giver.id))
    count(metadata=[("x-auth-token", READER_TOKEN)])
    began = time.monotonic()
    system.server.signal(signal.SIGTERM)
    system.server.wait_for('"event":"draining"')
    try:
        count(metadata=[("x-auth-token", READER_TOKEN)])
        answered = True
    except grpc.RpcError:
        answered = False
    if watched:
        assert next(watch).status == HealthCheckResponse.NOT_SERVING
    assert system.server.wait() == 0
    return answered, time.monotonic() - began


@pytest.mark.parametrize("watched", [True, False])
def test_a_server_that_stops_takes_calls_only_while_watched(programs: Programs, tmp_path: Path, watched: bool) -> None:
    # An hour that is not skipped would be longer than the patience of the test.
    system = System(tmp_path, programs, 1, "--drain-notice", "5" if watched else "3600")
    if not watched:  # the gateway watches its server
        system.gateway.end()
    answered, seconds = drained(system, watched=watched)
    system.close()
    assert answered or not watched  # gRPC takes a moment to stop accepting calls
    assert seconds >= 5 or not watched
