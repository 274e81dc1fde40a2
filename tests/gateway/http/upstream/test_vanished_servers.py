"""Servers behind a network that drops all packets silently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Weather
from tests.gateway.http.several import READING, READINGS, Health, Named, asked, until, until_asked
from tests.support.programs import PATIENCE
from tests.support.tcp import serving
from tests.support.wire import assert_failure, exchange, get, post

pytestmark = pytest.mark.resilience

KEEPALIVE = 0.6
"""Idle seconds before a keepalive ping."""


class Hole:
    """Proxy to a server that can drop the bytes of both sides."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.address = ""

    def swallow(self) -> None:
        """Drop all bytes from now on. Connections are still accepted, as by a proxy without a backend."""
        self._open.clear()

    def let_through(self) -> None:
        """Forward new connections. Old connections are cut because they have lost bytes."""
        for task in self._tasks:
            task.cancel()
        self._open.set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until one side ends it, or `let_through` cancels the task."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        host, _, port = self._target.rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            there_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self._open.is_set():
                sink.write(data)
        if not self._open.is_set():
            await asyncio.Event().wait()  # the end of the connection is lost too


@pytest_asyncio.fixture
async def servers(weather: Weather) -> AsyncIterator[list[Named]]:
    servers = [Named(weather, "a", Health()), Named(weather, "b", Health())]
    for server in servers:
        await server.begin()
    yield servers
    for server in servers:
        await server.die()


@pytest_asyncio.fixture
async def hole(servers: list[Named]) -> AsyncIterator[Hole]:
    """Proxy in front of the first server."""
    hole = Hole(servers[0].address)
    async with serving(hole.pass_on) as hole.address:
        yield hole


async def test_reads_at_a_vanished_server_move_on_and_changes_are_503(
    start_gateway: StartGateway, servers: list[Named], hole: Hole
) -> None:
    gateway = await start_gateway(upstream=f"{hole.address},{servers[1].address}", keepalive=KEEPALIVE)
    await until_asked(gateway, "a", "b")
    has_come, _ = servers[0].holding()
    sent = [get(READING), get(READING), post(READINGS, b"{}"), post(READINGS, b"{}")]
    calls = [asyncio.create_task(exchange(gateway.address, each)) for each in sent]
    await has_come.wait()
    hole.swallow()
    async with asyncio.timeout(PATIENCE / 2):  # far below the timeout of a call
        answers = await asyncio.gather(*calls)
    assert [answer.status for answer in answers[:2]] == [200, 200]
    assert sorted(answer.status for answer in answers[2:]) in ([200, 200], [200, 503])
    for answer in answers:
        if answer.status == 503:
            assert_failure(answer, 503, "UNAVAILABLE")
    assert await asked(gateway, 6) == {"b": 6}
    servers[0].unary = servers[0].answer
    hole.let_through()
    await until_asked(gateway, "a", "b")


@pytest.mark.parametrize("health", [Health, None])
async def test_a_quiet_connection_to_a_vanished_server_is_given_up(
    start_gateway: StartGateway, servers: list[Named], hole: Hole, health: type[Health] | None
) -> None:
    if health is None:
        for server in servers:
            server.others.clear()
    gateway = await start_gateway(upstream=f"{hole.address},{servers[1].address}", keepalive=KEEPALIVE)
    await until_asked(gateway, "a", "b")
    hole.swallow()
    await asyncio.sleep(KEEPALIVE * 4)
    assert await asked(gateway, 6) == {"b": 6}


async def test_a_server_with_grpcs_own_limits_is_not_offended_by_pings(
    start_gateway: StartGateway, servers: list[Named]
) -> None:
    health = servers[0].others[0]
    assert isinstance(health, Health)
    gateway = await start_gateway(upstream=f"{servers[0].address},{servers[1].address}", keepalive=1.0)
    await until_asked(gateway, "a", "b")
    has_come, released = servers[0].holding()
    calls = [asyncio.create_task(exchange(gateway.address, post(READINGS, b"{}"))) for _ in range(2)]
    await has_come.wait()
    begun = health.begun
    await until(lambda: health.begun > begun + 3)
    released.set()
    assert {(await call).status for call in calls} == {200}
