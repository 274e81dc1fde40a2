"""Multiplexed streams to several servers: one stream per server, and failover when a stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from multiplex.v1 import multiplex_pb2 as pb
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, Weather
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.multiplex_peer import Peer
from tests.gateway.http.several import READING, READINGS, Health, Named, until_asked, upstream
from tests.support.wire import Answer, assert_failure, exchange, get, post

READ = "/weather.v1.StationService/GetReading"


class Spoken:
    """Server with its open stream."""

    def __init__(self, server: Named, peer: Peer, health: Health) -> None:
        self.server, self.peer, self.health = server, peer, health
        self.stream: Context | None = None

    async def say_hello(self) -> None:
        self.stream = await self.peer.stream()
        await self.stream.write(pb.MultiplexResponse(max_in_flight=100).SerializeToString())

    async def answer(self, call: pb.Call) -> None:
        assert self.stream is not None
        answer = pb.Answer(id=call.id, response=self.server.weather.reading(f"stream:{self.server.name}"))
        await self.stream.write(pb.MultiplexResponse(answers=[answer]).SerializeToString())

    async def answer_all(self) -> None:
        while True:
            for call in await self.peer.calls(1):
                await self.answer(call)


@pytest_asyncio.fixture
async def pair(weather: Weather) -> AsyncIterator[list[Spoken]]:
    """Two servers with the multiplex service."""
    pair = []
    for name in "ab":
        peer, health = Peer(), Health()
        server = Named(weather, name, peer, health)
        await server.begin()
        pair.append(Spoken(server, peer, health))
    yield pair
    for spoken in pair:
        await spoken.server.die()


@pytest_asyncio.fixture
async def gateway(start_gateway: StartGateway, pair: list[Spoken]) -> Gateway:
    """Gateway with an open stream to both servers."""
    gateway = await start_gateway(upstream=upstream([spoken.server for spoken in pair]))
    await until_asked(gateway, "a", "b")
    for spoken in pair:
        await spoken.say_hello()
    answering = [asyncio.create_task(spoken.answer_all()) for spoken in pair]
    await until_asked(gateway, "stream:a", "stream:b")
    for task in answering:
        task.cancel()
    for spoken in pair:
        spoken.server.seen.clear()
    return gateway


def call(gateway: Gateway, sent: bytes) -> asyncio.Task[Answer]:
    return asyncio.create_task(exchange(gateway.address, sent))


async def test_each_server_has_one_stream_and_half_of_the_calls(gateway: Gateway, pair: list[Spoken]) -> None:
    calls = [call(gateway, get(READING)) for _ in range(20)]
    for spoken in pair:
        for each in await spoken.peer.calls(10):
            await spoken.answer(each)
    assert {(await each).status for each in calls} == {200}
    assert [len(spoken.peer.streams) for spoken in pair] == [1, 1]


async def test_a_broken_streams_reads_move_on_and_its_changes_fail(gateway: Gateway, pair: list[Spoken]) -> None:
    reads = [call(gateway, get(READING)) for _ in range(4)]
    changes = [call(gateway, post(READINGS, b"{}")) for _ in range(4)]
    lost, others = [await spoken.peer.calls(4) for spoken in pair]
    pair[0].peer.end.set()
    lost_reads = sum(each.method == READ for each in lost)
    moved = await pair[1].peer.calls(lost_reads)
    for each in (*others, *moved):
        await pair[1].answer(each)
    assert {(await each).json["note"] for each in reads} == {"stream:b"}
    assert {each.method for each in moved} <= {READ}
    answers = [await each for each in changes]
    failed = [answer for answer in answers if answer.status != 200]
    for answer in failed:
        assert_failure(answer, 503, "UNAVAILABLE")
    assert len(failed) == len(lost) - lost_reads
    assert pair[0].server.seen == pair[1].server.seen == []


async def test_a_server_that_drains_is_called_unary_until_it_is_well(gateway: Gateway, pair: list[Spoken]) -> None:
    assert pair[0].stream is not None
    await pair[0].stream.write(pb.MultiplexResponse(draining=True).SerializeToString())
    answering = asyncio.create_task(pair[1].answer_all())
    await until_asked(gateway, "a", "stream:b")
    answering.cancel()


async def test_a_read_whose_deadline_has_passed_is_not_made_again(gateway: Gateway, pair: list[Spoken]) -> None:
    read = call(gateway, get(READING, "Grpc-Timeout: 100m"))
    waiting = [asyncio.create_task(spoken.peer.calls(1)) for spoken in pair]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    (first,) = done
    await asyncio.sleep(0.2)
    pair[waiting.index(first)].peer.end.set()
    assert_failure(await read, 503, "UNAVAILABLE")
    assert [spoken.server.seen for spoken in pair] == [[], []]
    assert not any(task.done() for task in pending)
    for task in pending:
        task.cancel()
