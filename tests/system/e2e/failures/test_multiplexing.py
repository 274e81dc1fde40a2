"""Many calls over one stream, from client to database: real processes, and a connection that can be cut."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.ports import free_address
from tests.support.postgres.proxy import TcpProxy
from tests.support.programs import PATIENCE, Programs
from tests.support.rest import Rest, assert_success
from tests.support.system import Project, System

pytestmark = pytest.mark.resilience

KEY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def wire(own_system: System) -> Iterator[TcpProxy]:
    """TCP load balancer in front of the server whose connections a test can cut."""
    with TcpProxy(own_system.grpc_address) as wire:
        yield wire


@pytest.fixture
async def wired(own_system: System, programs: Programs, wire: TcpProxy) -> Rest:
    """Gateway behind the proxy, with an open stream."""
    rest = Rest(free_address())
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, programs.gateway, rest.address, wire.address)
    own_system.rest = rest
    await until_multiplexed(own_system)
    return rest


async def until_multiplexed(system: System) -> None:
    """Make calls until the stream is certainly open; the first call opens it."""
    project = system.documented_giver
    for _ in range(20):
        assert_success(await system.rest.call("GET", f"{project.path}/count", token="reader"))


async def test_five_hundred_calls_at_once_of_all_kinds_and_identities(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    stranger = system.new_project()

    async def ask(number: int) -> tuple[int, object]:
        match number % 5:
            case 0:
                answer = await system.share(giver, backup_id, f"project-{number}")
                return answer.status, answer.json["shared"][0]["to_project_id"] == f"project-{number}"
            case 1:
                return (await system.rest.call("GET", f"{giver.path}/count", token=stranger.token)).status, True
            case 2:
                return (await system.rest.call("GET", f"{giver.path}/count", token=f"nobody-{number}")).status, True
            case 3:
                return (await system.share(recipient, backup_id, "anyone")).status, True
            case _:
                answer = await system.list(recipient)
                return answer.status, answer.json["shared"] == []

    answers = Counter(await asyncio.gather(*(ask(number) for number in range(500))))
    assert answers == {(200, True): 200, (403, True): 100, (401, True): 100, (404, True): 100}
    assert len(system.rows(backup_id)) == 100


@pytest.mark.parametrize("key", [KEY, None])
async def test_a_share_cut_off_is_retried_with_a_key_and_503_without(
    own_system: System, wire: TcpProxy, wired: Rest, key: str | None
) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    headers = {"Idempotency_Key": key} if key else {}
    with own_system.locked():
        shares = [
            asyncio.create_task(own_system.share(giver, backup_id, f"r{n}", **_own(headers, n))) for n in range(9)
        ]
        await asyncio.sleep(2.0)  # all calls have reached the server
        wire.cut()
        await asyncio.sleep(0.5)
    answers = await asyncio.gather(*shares)
    if key:
        assert {answer.status for answer in answers} == {200}
        assert len(own_system.rows(backup_id)) == 9
    else:
        assert {answer.status for answer in answers} == {503}
    assert own_system.events(backup_id)["shared"] == len(own_system.rows(backup_id))


def _own(headers: dict[str, str], number: int) -> dict[str, str]:
    return {name: value[:-1] + str(number) for name, value in headers.items()}


async def test_after_a_cut_reads_go_on_and_a_new_stream_is_opened(
    own_system: System, wire: TcpProxy, wired: Rest
) -> None:
    project = own_system.new_project()
    for _ in range(5):
        reads = [asyncio.create_task(own_system.count(project)) for _ in range(50)]
        await asyncio.sleep(0)
        wire.cut()
        assert await asyncio.gather(*reads) == [0] * 50


async def test_a_server_that_is_started_again_is_found_again(own_system: System) -> None:
    project = own_system.new_project()
    await own_system.count(project)
    own_system.server.signal(signal.SIGTERM)
    assert own_system.server.wait() == 0
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, own_system.start_server)
    async with asyncio.timeout(PATIENCE):
        while (await own_system.rest.call("GET", f"{project.path}/count", token=project.token)).status != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    assert await own_system.count(project) == 0


async def test_a_server_that_stops_finishes_the_calls_it_began(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    await own_system.count(giver)
    with own_system.locked():
        shares = [asyncio.create_task(own_system.share(giver, backup_id, f"r{n}")) for n in range(50)]
        await asyncio.sleep(0.5)
        own_system.server.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
    answers = Counter(answer.status for answer in await asyncio.gather(*shares))
    own_system.close()  # an idle client that does not read would delay the server's end
    assert own_system.server.wait() == 0
    assert set(answers) <= {200, 503}
    assert answers[200] == len(own_system.rows(backup_id)) > 0
    assert "Traceback" not in own_system.server.printed
