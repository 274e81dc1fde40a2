"""Stream lifetime: when records are sent, disconnected and slow clients, and draining."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather
from tests.gateway.http.gateways import Gateway
from tests.support.programs import PATIENCE
from tests.support.wire import assert_error, assert_failure, connected, exchange, get

WATCH = "/v1/stations/berlin:watch"
READING = "/v1/stations/berlin/reading"
EVENTS = "Accept: text/event-stream"
MESSAGE_BYTES = 64 * 1024
MOST_MESSAGES = 1000
"""Messages that a server sends: 62 MiB in total, far more than all buffers on the way to the client."""


class Script:
    """Stream whose server follows the test step by step and reports its end."""

    def __init__(self, foreign: ForeignServer) -> None:
        self.called, self.ended = asyncio.Event(), asyncio.Event()
        self._steps: asyncio.Queue[bytes | None] = asyncio.Queue()
        foreign.stream = self._run

    def begin(self) -> None:
        """Send the initial metadata, without a message."""
        self._steps.put_nowait(None)

    def send(self, message: bytes) -> None:
        self._steps.put_nowait(message)

    async def _run(self, _request: Message, context: Context) -> AsyncIterator[bytes]:
        self.called.set()
        try:
            while True:
                step = await self._steps.get()
                if step is None:
                    await context.send_initial_metadata(())
                else:
                    yield step
        finally:
            self.ended.set()


@pytest.fixture
def script(foreign: ForeignServer) -> Script:
    return Script(foreign)


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_headers_are_sent_when_the_server_begins_to_answer(script: Script, gateway: Gateway, accept: str) -> None:
    script.begin()
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH, f"Accept: {accept}"))
        head = await connection.head()
        assert (head.status, head.headers["Content-Type"]) == (200, accept)


async def test_headers_are_sent_after_the_heartbeat_of_a_silent_server(
    script: Script, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(heartbeat=0.05)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        assert (await connection.head()).status == 200


async def test_a_quiet_event_stream_has_comments_and_loses_no_message(
    script: Script, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(heartbeat=0.05)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH, EVENTS))
        await connection.head()
        for sequence in (1, 2):
            for _ in range(3):
                assert await connection.chunk() == b":\n\n"
            script.send(weather.reading("", sequence))
            while (chunk := await connection.chunk()) == b":\n\n":
                pass
            assert chunk == b'id: %d\ndata: {"sequence":"%d"}\n\n' % (sequence, sequence)


async def test_quiet_lines_have_nothing_between_messages(
    script: Script, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(heartbeat=0.01)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        # A parallel event stream counts the heartbeats that pass.
        async with connected(gateway.address) as clock:
            clock.send(get(WATCH, EVENTS))
            await clock.head()
            for _ in range(10):
                assert await clock.chunk() == b":\n\n"
        script.send(weather.reading("warm"))
        script.send(weather.reading("warm"))
        assert await connection.chunk() == b'{"note":"warm"}\n'


async def test_a_client_that_goes_away_ends_the_call_at_the_server(
    script: Script, gateway: Gateway, weather: Weather
) -> None:
    script.send(weather.reading("warm"))
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await connection.chunk()
        assert not script.ended.is_set()
    await until(script.ended)


async def test_a_client_that_leaves_before_any_byte_ends_the_call(script: Script, gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await until(script.called)
    await until(script.ended)


async def test_a_client_that_leaves_without_reading_ends_the_call(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    pouring = Pouring(foreign, weather)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await pouring.stalled(gateway)
    await until(pouring.ended)


class Pouring:
    """Stream whose server sends as fast as flow control allows, and counts its messages."""

    def __init__(self, foreign: ForeignServer, weather: Weather) -> None:
        self.taken = 0
        """Messages that gRPC took from the server."""
        self.ended = asyncio.Event()
        message = weather.reading("x" * MESSAGE_BYTES)

        async def pour(_request: Message, _context: Context) -> AsyncIterator[bytes]:
            try:
                while self.taken < MOST_MESSAGES:
                    yield message
                    self.taken += 1
            finally:
                self.ended.set()

        foreign.stream = pour

    async def stalled(self, gateway: Gateway) -> None:
        """Wait until 50 other calls pass without a further message taken, or until the stream has ended."""
        taken = -1
        while taken != self.taken and not self.ended.is_set():
            taken = self.taken
            for _ in range(50):
                assert (await exchange(gateway.address, get(READING))).status == 200


async def test_a_slow_client_slows_the_server_and_loses_nothing(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    pouring = Pouring(foreign, weather)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await pouring.stalled(gateway)
        assert pouring.taken < MOST_MESSAGES // 2
        for _ in range(MOST_MESSAGES):
            assert len(await connection.chunk()) == MESSAGE_BYTES + len('{"note":""}\n')
        assert await connection.chunk() == b""
    assert pouring.taken == MOST_MESSAGES


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_draining_ends_an_open_stream_with_a_last_record(
    script: Script, start_gateway: StartGateway, weather: Weather, accept: str
) -> None:
    gateway = await start_gateway(drain_timeout=PATIENCE * 2)
    script.send(weather.reading("warm"))
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH, f"Accept: {accept}"))
        await connection.head()
        await connection.chunk()
        await gateway.drain()
        last = (await connection.chunk()).removeprefix(b"event: error\ndata: ")
        assert_error(json.loads(last), "UNAVAILABLE", "stopping")
        assert await connection.chunk() == b""
        assert await connection.ended() == b""
    await until(script.ended)


async def test_draining_ends_a_stream_that_has_not_begun_with_503(script: Script, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_timeout=PATIENCE * 2)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await until(script.called)
        await gateway.drain()
        answer = await connection.answer()
        assert_failure(answer, 503, "UNAVAILABLE", "stopping")
        assert "Retry-After" in answer.headers
    await until(script.ended)


async def test_draining_does_not_wait_forever_for_a_silent_client(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(drain_timeout=0.1)
    pouring = Pouring(foreign, weather)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await pouring.stalled(gateway)
        await gateway.drain()
    await until(pouring.ended)


async def test_draining_lets_a_unary_call_finish(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(drain_timeout=PATIENCE * 2)
    called, may_answer = asyncio.Event(), asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        called.set()
        await may_answer.wait()
        return weather.reading("warm")

    foreign.unary = hold
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        await until(called)
        draining = asyncio.ensure_future(gateway.drain())
        await asyncio.sleep(0)
        may_answer.set()
        assert (await connection.answer()).body == b'{"note":"warm"}'
        await draining


async def test_draining_ends_a_call_that_outlasts_it(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_timeout=0.1, timeout=PATIENCE * 4)
    called, ended = asyncio.Event(), asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    foreign.unary = hold
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        await until(called)
        await gateway.drain()
        assert await connection.ended() == b""
    await until(ended)
