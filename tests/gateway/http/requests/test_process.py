"""The gateway as a separate process: its log after all kinds of streams, and its shutdown."""

from __future__ import annotations

import asyncio
import json
import signal

import grpc

from tests.gateway.http.foreign import ForeignServer, Weather, endless, failing, sending
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Program, Programs
from tests.support.wire import assert_error, connected, exchange, get

WATCH = "/v1/stations/berlin:watch"


async def started(programs: Programs, foreign: ForeignServer, weather: Weather, *arguments: str) -> tuple[Program, str]:
    """Start a gateway in front of the foreign server; return it with its address."""
    address = free_address()
    set_of = ("--descriptor-set", str(weather.descriptor_set))
    return await asyncio.to_thread(programs.gateway, address, foreign.address, *set_of, *arguments), address


async def test_a_signal_ends_streams_with_a_record_then_the_process(
    foreign: ForeignServer, weather: Weather, programs: Programs
) -> None:
    gateway, address = await started(programs, foreign, weather, "--drain-timeout", str(PATIENCE * 4))
    ended = endless(foreign, weather.reading("warm"))
    async with connected(address) as connection, connected(address) as idle:
        connection.send(get(WATCH))
        await connection.head()
        assert await connection.chunk() == b'{"note":"warm"}\n'
        gateway.signal(signal.SIGTERM)
        assert_error(json.loads(await connection.chunk()), "UNAVAILABLE", "stopping")
        assert await connection.ended() == b"0\r\n\r\n"
        assert await idle.ended() == b""
    assert await asyncio.to_thread(gateway.wait) == 0
    async with asyncio.timeout(PATIENCE):
        await ended.wait()


async def test_streams_of_every_ending_leave_nothing_odd_in_the_log(
    foreign: ForeignServer, weather: Weather, programs: Programs
) -> None:
    gateway, address = await started(programs, foreign, weather, "--heartbeat", "0.05")
    for messages in ((), (weather.reading("warm"),)):
        ended = endless(foreign, *messages)
        async with connected(address) as connection:
            connection.send(get(WATCH, "Accept: text/event-stream"))
            await connection.head()
            await connection.chunk()
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        await exchange(address, get(WATCH, "Grpc-Timeout: 20m"))
    for stream in (
        sending(),
        sending(then=failing(grpc.StatusCode.NOT_FOUND)),
        sending(weather.reading("warm"), then=failing(grpc.StatusCode.ABORTED, "Moved.")),
        sending(b"\xff", weather.reading("warm")),
        sending(weather.reading("warm"), b"\xff", weather.reading("warm")),
    ):
        foreign.stream = stream
        for _ in range(5):
            await exchange(address, get(WATCH))
    gateway.signal(signal.SIGTERM)
    assert await asyncio.to_thread(gateway.wait) == 0
    lines = [json.loads(line) for line in gateway.printed.splitlines()]
    events = {"serving", "server", "request", "stream failed", "draining", "stopped"}
    assert {line["event"] for line in lines} == events
