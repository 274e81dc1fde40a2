"""Limits for clients; each limit is a setting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer
from tests.support.programs import PATIENCE
from tests.support.wire import assert_failure, connected, exchange, get, head_of, post

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
SHORT = 3.0
"""Seconds of a limit that a test exceeds on purpose, but not before: a busy machine may stand still for two."""


def body_of(size: int) -> bytes:
    """Return a valid body of exactly this many bytes."""
    frame = b'{"note":""}'
    return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')


async def test_a_body_may_have_as_many_bytes_as_the_setting_says(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_body=1000)
    assert (await exchange(gateway.address, post(READINGS, body_of(1000)))).status == 200
    assert_failure(await exchange(gateway.address, post(READINGS, body_of(1001))), 400, "INVALID_ARGUMENT", "1000")
    assert len(foreign.seen) == 1


async def test_a_body_in_chunks_has_the_same_limit(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_body=1000)
    for size, status in ((1000, 200), (1001, 400)):
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body_of(size)) + b"0\r\n\r\n"
        sent = head_of("POST", READINGS, "Content-Type: application/json", "Transfer-Encoding: chunked") + chunks
        assert (await exchange(gateway.address, sent)).status == status
    assert len(foreign.seen) == 1


async def test_a_body_too_large_by_its_headers_is_refused_unsent(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(max_body=1000)
    async with connected(gateway.address) as connection:
        connection.send(head_of("POST", READINGS, "Expect: 100-continue", "Content-Length: 1001"))
        assert_failure(await connection.answer(), 400, "INVALID_ARGUMENT", "1001")


async def test_the_request_line_and_each_header_have_a_limit(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_header=2048)
    assert (await exchange(gateway.address, get(READING, "X-Long: " + "x" * 2000))).status == 200
    assert (await exchange(gateway.address, get(f"/v1/stations/{'x' * 1900}/reading"))).status == 200
    for sent in (get(READING, "X-Long: " + "x" * 2100), get(f"/v1/stations/{'x' * 2100}/reading")):
        assert_failure(await exchange(gateway.address, sent), 400, "INVALID_ARGUMENT")


async def test_nesting_has_a_limit(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_depth=4)
    for depth, status in ((4, 200), (5, 400)):
        body = b'{"cause":' * (depth - 1) + b"{}" + b"}" * (depth - 1)
        assert (await exchange(gateway.address, post(READINGS, body))).status == status
    deep = b'{"cause":' * 100_000
    assert_failure(await exchange(gateway.address, post(READINGS, deep)), 400, "INVALID_ARGUMENT", "4 levels")
    assert len(foreign.seen) == 1


@pytest.mark.parametrize("framing", ["Content-Length: 200", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_arrive_in_time_is_408(
    foreign: ForeignServer, start_gateway: StartGateway, framing: str
) -> None:
    gateway = await start_gateway(body_timeout=0.1)
    async with connected(gateway.address) as connection:
        connection.send(head_of("POST", READINGS, framing) + b'{"note'[: 6 if "Length" in framing else 0])
        answer = await connection.answer()
    assert_failure(answer, 408, "CANCELLED", "0.1 seconds")
    assert answer.headers["Connection"] == "close"
    assert foreign.seen == []


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: 1\r\n"])
async def test_a_connection_whose_headers_are_late_is_closed(start_gateway: StartGateway, sent: bytes) -> None:
    gateway = await start_gateway(header_timeout=0.1)
    async with connected(gateway.address) as connection:
        connection.send(sent)
        assert await connection.ended() == b""


async def test_headers_that_trickle_in_do_not_win_time(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_timeout=0.2)
    async with connected(gateway.address) as connection:
        connection.send(b"GET / HTTP/1.1\r\n")
        ended = asyncio.ensure_future(connection.ended())
        while not ended.done():
            connection.send(b"X: y\r\n")
            await asyncio.wait((ended,), timeout=0.02)
        assert ended.result() == b""


async def test_the_headers_of_later_requests_have_a_limit_too(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_timeout=SHORT, idle_timeout=PATIENCE * 4)
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        assert (await connection.answer()).status == 200
        connection.send(b"GET / HT")
        assert await connection.ended() == b""


async def test_the_time_for_headers_excludes_the_body_and_the_call(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(header_timeout=SHORT, body_timeout=PATIENCE)
    async with connected(gateway.address) as connection, connected(gateway.address) as late:
        connection.send(head_of("POST", READINGS, "Content-Type: application/json", "Content-Length: 2") + b"{")
        # The second connection opened later and is closed by the header timeout.
        assert await late.ended() == b""
        connection.send(b"}")
        assert (await connection.answer()).status == 200


async def test_an_idle_connection_is_closed(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(idle_timeout=SHORT)
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        assert (await connection.answer()).status == 200
        assert await connection.ended() == b""


async def test_a_client_that_stops_reading_is_cut_off_with_its_call(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(idle_timeout=0.2)
    ended = asyncio.Event()
    large = foreign.weather.reading("x" * 1_000_000)

    async def send(_request: Message, _context: Context) -> AsyncIterator[bytes]:
        try:
            while True:
                yield large
        finally:
            ended.set()

    foreign.stream = send
    async with connected(gateway.address) as connection:
        connection.send(get("/v1/stations/berlin:watch"))
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


async def test_a_call_longer_than_the_idle_limit_is_answered(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(idle_timeout=SHORT)
    may_answer = asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        await may_answer.wait()
        return b""

    foreign.unary = hold
    async with connected(gateway.address) as connection, connected(gateway.address) as idle:
        connection.send(get(READING))
        assert await idle.ended() == b""
        may_answer.set()
        assert (await connection.answer()).status == 200


class Holding:
    """Unary calls that wait until ``may_answer`` is set."""

    def __init__(self, foreign: ForeignServer) -> None:
        self._foreign = foreign
        self.may_answer = asyncio.Event()
        foreign.unary = self._hold
        self._came = asyncio.Condition()

    async def until_held(self, calls: int) -> None:
        """Wait until this many calls have arrived."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self._foreign.seen) >= calls)

    async def _hold(self, _request: Message, _context: Context) -> bytes:
        async with self._came:
            self._came.notify_all()
        await self.may_answer.wait()
        return b""


async def test_beyond_the_requests_in_flight_503_and_then_recovery(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_in_flight=2)
    holding = Holding(foreign)
    waiting = [asyncio.ensure_future(exchange(gateway.address, get(READING))) for _ in range(2)]
    await holding.until_held(2)
    for target in (READING, "/nothing"):
        answer = await exchange(gateway.address, get(target))
        assert_failure(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1
    holding.may_answer.set()
    assert [(await answered).status for answered in waiting] == [200, 200]
    assert (await exchange(gateway.address, get(READING))).status == 200


async def test_a_client_that_goes_away_makes_room_for_others(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_in_flight=1)
    holding = Holding(foreign)
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        await holding.until_held(1)
    holding.may_answer.set()
    async with asyncio.timeout(PATIENCE):
        while (await exchange(gateway.address, get(READING))).status == 503:
            pass


async def test_an_open_stream_counts_as_a_request_in_flight(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_in_flight=1, heartbeat=0.05)

    async def wait(_request: Message, _context: Context):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a generator
        await asyncio.Event().wait()
        yield b""

    foreign.stream = wait
    async with connected(gateway.address) as connection:
        connection.send(get("/v1/stations/berlin:watch"))
        await connection.head()
        assert_failure(await exchange(gateway.address, get(READING)), 503, "UNAVAILABLE")
