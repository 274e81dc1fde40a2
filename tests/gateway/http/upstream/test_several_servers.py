"""Several servers: load balancing, and calls of servers that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from restmap_gateway.upstream.balancer import Balancer
from restmap_gateway.upstream.resolver import Resolver
from restmap_gateway.upstream.upstream import ConnectionSettings
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Weather, failing, sending
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.several import (
    NOT_SERVING,
    READING,
    READINGS,
    SERVING,
    Health,
    Named,
    arrived,
    asked,
    until,
    until_asked,
    upstream,
)
from tests.support.programs import PATIENCE
from tests.support.wire import Answer, assert_failure, connected, exchange, get, post

DETAIL = RetryInfo(retry_delay=Duration(seconds=3))


@pytest_asyncio.fixture
async def servers(weather: Weather) -> AsyncIterator[list[Named]]:
    """Three servers without the health service."""
    servers = [Named(weather, name) for name in ("a", "b", "c")]
    for server in servers:
        await server.begin()
    yield servers
    for server in servers:
        await server.die()


@pytest_asyncio.fixture
async def gateway(start_gateway: StartGateway, servers: list[Named]) -> Gateway:
    gateway = await start_gateway(upstream=upstream(servers))
    await until_asked(gateway, "a", "b", "c")
    return gateway


def read(gateway: Gateway, *lines: str) -> asyncio.Task[Answer]:
    return asyncio.create_task(exchange(gateway.address, get(READING, *lines)))


def write(gateway: Gateway) -> asyncio.Task[Answer]:
    return asyncio.create_task(exchange(gateway.address, post(READINGS, b"{}")))


def times_seen(servers: list[Named]) -> int:
    return sum(len(server.seen) for server in servers)


async def test_calls_one_after_the_other_go_to_all_servers_in_turn(gateway: Gateway) -> None:
    assert await asked(gateway, 30) == {"a": 10, "b": 10, "c": 10}


async def test_a_busy_server_gets_no_call_while_another_has_fewer(gateway: Gateway, servers: list[Named]) -> None:
    has_come, released = servers[0].holding()
    reads = [read(gateway) for _ in range(3)]
    await has_come.wait()
    await until(lambda: sum(each.done() for each in reads) == 2)
    assert await asked(gateway, 10) == {"b": 5, "c": 5}
    released.set()
    assert {(await each).json["note"] for each in reads} == {"a", "b", "c"}


async def test_streams_are_spread_too(gateway: Gateway, servers: list[Named], weather: Weather) -> None:
    for server in servers:
        server.stream = sending(weather.reading(server.name))
    names = set()
    for _ in servers:
        async with connected(gateway.address) as connection:
            connection.send(get("/v1/stations/berlin:watch"))
            await connection.head()
            names.add(await connection.chunk())
    assert names == {b'{"note":"%s"}\n' % name for name in (b"a", b"b", b"c")}


async def test_a_read_at_a_server_that_dies_is_answered_by_another(gateway: Gateway, servers: list[Named]) -> None:
    held = [server.holding() for server in servers]
    before = times_seen(servers)
    reading = read(gateway)
    first = await arrived(*(event for event, _ in held))
    for _, released in held[:first] + held[first + 1 :]:
        released.set()
    await servers[first].die()
    assert (await reading).json["note"] in {"a", "b", "c"} - {servers[first].name}
    assert times_seen(servers) == before + 2


async def test_a_change_at_a_server_that_dies_is_503_and_made_once(gateway: Gateway, servers: list[Named]) -> None:
    held = [server.holding() for server in servers]
    before = times_seen(servers)
    writing = write(gateway)
    dying = servers[await arrived(*(event for event, _ in held))]
    await dying.die()
    answer = await writing
    assert_failure(answer, 503, "UNAVAILABLE")
    assert "Retry-After" in answer.headers
    assert times_seen(servers) == before + 1


async def test_after_a_server_died_no_call_fails(gateway: Gateway, servers: list[Named]) -> None:
    await servers[1].die()
    answers = [await each for each in [*(write(gateway) for _ in range(20)), *(read(gateway) for _ in range(20))]]
    assert {answer.json["note"] for answer in answers} == {"a", "c"}


async def test_a_server_that_is_back_is_asked_again(gateway: Gateway, servers: list[Named]) -> None:
    await servers[1].die()
    await until_asked(gateway, "a", "c")
    await servers[1].begin()
    await until_asked(gateway, "a", "b", "c")


async def test_with_all_servers_dead_calls_are_503_until_one_is_back(gateway: Gateway, servers: list[Named]) -> None:
    for server in servers:
        await server.die()
    for answer in (await read(gateway), await write(gateway)):
        assert_failure(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1
    await servers[2].begin()
    await until_asked(gateway, "c")
    assert (await write(gateway)).json["note"] == "c"


@pytest.mark.parametrize("details", [(), (DETAIL,)])
async def test_a_read_a_server_cannot_do_now_is_retried_at_another(
    gateway: Gateway, servers: list[Named], details: tuple[RetryInfo, ...]
) -> None:
    servers[0].unary = failing(grpc.StatusCode.UNAVAILABLE, "Busy.", *details)
    before, failed = times_seen(servers), len(servers[0].seen)
    assert {(await read(gateway)).json["note"] for _ in range(6)} == {"b", "c"}
    failed = len(servers[0].seen) - failed
    assert failed >= 2
    assert times_seen(servers) == before + 6 + failed


@pytest.mark.parametrize("details", [(), (DETAIL,)])
async def test_a_change_a_server_cannot_do_now_is_not_retried(
    gateway: Gateway, servers: list[Named], details: tuple[RetryInfo, ...]
) -> None:
    for server in servers:
        server.unary = failing(grpc.StatusCode.UNAVAILABLE, "Busy.", *details)
    before = times_seen(servers)
    assert_failure(await write(gateway), 503, "UNAVAILABLE")
    assert times_seen(servers) == before + 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_a_read_that_nobody_can_carry_out_is_made_twice_at_most(
    gateway: Gateway, servers: list[Named], code: str
) -> None:
    for server in servers:
        server.unary = failing(grpc.StatusCode[code], "Busy.", DETAIL)
    before = times_seen(servers)
    answer = await read(gateway)
    assert_failure(answer, 503 if code == "UNAVAILABLE" else 499, code)
    assert times_seen(servers) == before + 2


async def test_a_failure_of_the_call_itself_is_not_retried_elsewhere(gateway: Gateway, servers: list[Named]) -> None:
    for server in servers:
        server.unary = failing(grpc.StatusCode.NOT_FOUND, "No such station.")
    before = times_seen(servers)
    assert_failure(await read(gateway), 404, "NOT_FOUND")
    assert times_seen(servers) == before + 1


async def test_a_call_that_nobody_answers_is_given_up_for_good(
    start_gateway: StartGateway, servers: list[Named]
) -> None:
    gateway = await start_gateway(upstream=upstream(servers), timeout=3.0, commit_margin=0.1)
    for server in servers:
        server.holding()
    assert_failure(await read(gateway), 504, "DEADLINE_EXCEEDED")
    assert times_seen(servers) == 1


async def test_a_server_not_serving_gets_no_calls_while_another_is(
    start_gateway: StartGateway, weather: Weather
) -> None:
    healths = [Health(), Health()]
    servers = [Named(weather, name, health) for name, health in zip("ab", healths, strict=True)]
    for server in servers:
        await server.begin()
    gateway = await start_gateway(upstream=upstream(servers))
    await until_asked(gateway, "a", "b")
    healths[0].says(NOT_SERVING)
    await until_asked(gateway, "b")
    assert await asked(gateway, 10) == {"b": 10}
    healths[1].says(NOT_SERVING)
    # When no server is healthy, calls go to all servers and return their own errors.
    await until_asked(gateway, "a", "b")
    healths[0].says(SERVING)
    await until_asked(gateway, "a")
    for server in servers:
        await server.die()


async def test_a_gateway_that_stops_ends_its_watches(start_gateway: StartGateway, weather: Weather) -> None:
    health = Health()
    servers = [Named(weather, "a", health), Named(weather, "b")]
    for server in servers:
        await server.begin()
    gateway = await start_gateway(upstream=upstream(servers))
    await until(lambda: health.watches == 1)
    await gateway.drain()
    await until(lambda: health.watches == 0)
    for server in servers:
        await server.die()


async def test_a_server_that_drains_is_not_held_up_by_the_watch(start_gateway: StartGateway, weather: Weather) -> None:
    health = Health()
    servers = [Named(weather, "a", health), Named(weather, "b")]
    for server in servers:
        await server.begin()
    gateway = await start_gateway(upstream=upstream(servers))
    await until(lambda: health.watches == 1)
    assert servers[0].running is not None
    async with asyncio.timeout(10.0):
        await servers[0].running.stop(600.0)
    await until_asked(gateway, "b")
    await servers[1].die()


async def test_a_watch_is_begun_anew_as_often_as_pings_are_sent(start_gateway: StartGateway, weather: Weather) -> None:
    health = Health()
    server = Named(weather, "a", health)
    await server.begin()
    gateway = await start_gateway(upstream=f"{server.address},127.0.0.1:1", keepalive=0.2)
    await until(lambda: health.begun >= 4)
    assert await asked(gateway, 5) == {"a": 5}
    assert health.watches <= 2
    await server.die()


async def test_new_channels_take_over_and_old_calls_end_on_the_old(servers: list[Named]) -> None:
    balancer = Balancer(Resolver([server.address for server in servers]), ConnectionSettings(1.0, True), 10.0, 0.0)
    await balancer.start()

    async def change() -> grpc.StatusCode:
        reply = await balancer.call("/weather.v1.StationService/PutReading", b"", (), PATIENCE, repeatable=False)
        return reply.code

    assert [await change() for _ in range(6)] == [grpc.StatusCode.OK] * 6
    has_come, released = servers[0].holding()
    waiting = [asyncio.create_task(change()) for _ in range(3)]
    await has_come.wait()
    balancer.reconnect()
    servers[0].unary = servers[0].answer
    assert [await change() for _ in range(6)] == [grpc.StatusCode.OK] * 6
    released.set()
    assert await asyncio.gather(*waiting) == [grpc.StatusCode.OK] * 3
    await balancer.close()
