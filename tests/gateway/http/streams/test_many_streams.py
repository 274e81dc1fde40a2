"""More streams than a server allows on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from google.protobuf.message import Message

from restmap_gateway.upstream.stream_channels import STREAMS_OF_CHANNEL
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather, answering
from tests.gateway.http.gateways import Gateway
from tests.support.wire import Connection, assert_failure, connected, exchange, get

WATCH = "/v1/stations/berlin:watch"
READING = "/v1/stations/berlin/reading"


async def silent(_request: Message, context: Context) -> AsyncIterator[bytes]:
    await context.send_initial_metadata((("begun", "yes"),))  # not empty, so that the gateway waits for no failure
    await asyncio.Event().wait()
    yield b""


@pytest.fixture
def limited(weather: Weather) -> ForeignServer:
    """Server with silent streams that is not started yet."""
    limited = ForeignServer(weather)
    limited.stream = silent
    limited.unary = answering(weather.reading("here"))
    return limited


async def watching(gateway: Gateway, streams: AsyncExitStack) -> Connection:
    connection = await streams.enter_async_context(connected(gateway.address))
    connection.send(get(WATCH))
    assert (await connection.head()).status == 200
    return connection


async def test_streams_beyond_those_of_a_connection_begin(limited: ForeignServer, start_gateway: StartGateway) -> None:
    server = await limited.start(("grpc.max_concurrent_streams", STREAMS_OF_CHANNEL + 2))
    gateway = await start_gateway(upstream=limited.address)
    async with AsyncExitStack() as streams:
        for _ in range(2 * STREAMS_OF_CHANNEL + 1):
            await watching(gateway, streams)
        assert (await exchange(gateway.address, get(READING))).json == {"note": "here"}
    async with AsyncExitStack() as streams:
        await watching(gateway, streams)
    await server.stop(None)


async def test_a_stream_on_a_further_connection_can_fail(limited: ForeignServer, start_gateway: StartGateway) -> None:
    server = await limited.start()
    gateway = await start_gateway(upstream=limited.address)
    async with AsyncExitStack() as streams:
        for _ in range(STREAMS_OF_CHANNEL):
            await watching(gateway, streams)
        last = await watching(gateway, streams)
        await server.stop(None)
        assert b'"error"' in await last.chunk()
    assert_failure(await exchange(gateway.address, get(WATCH)), 503, "UNAVAILABLE")
