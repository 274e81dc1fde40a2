"""Denial of service by one client: connections, memory and event loop time are all bounded."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp.web_protocol import RequestHandler
from google.protobuf.message import Message

from restmap_gateway.http.connection import Connection
from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather
from tests.support.attacks.http1 import (
    MEGABYTE,
    Crowd,
    costly_bodies,
    costly_headers,
    garbage,
    half_bodies,
    half_headers,
    idle,
    request,
    tiny_chunks,
    unread,
)
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Programs
from tests.support.wire import assert_failure, connected, exchange, get, head_of, post

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
WATCH = "/v1/stations/berlin:watch"


async def until_hung_up(crowd: Crowd, count: int) -> None:
    """Wait until the gateway has closed this many connections."""
    async with asyncio.timeout(PATIENCE):
        while crowd.hung_up() < count:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.02)


async def test_idle_connections_make_room_for_others(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_connections=5)
    async with connected(gateway.address) as kept:
        kept.send(get(READING))
        assert (await kept.answer()).status == 200
        with await asyncio.to_thread(idle, gateway.address, 4) as crowd:
            assert (await exchange(gateway.address, get(READING))).status == 200
            assert await kept.ended() == b""
            assert (await exchange(gateway.address, get(READING))).status == 200
            assert crowd.hung_up() <= 1


async def test_connections_that_are_served_are_not_closed_for_others(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_connections=2)
    came, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        came.release()
        await may_answer.wait()
        return b""

    foreign.unary = hold
    async with connected(gateway.address) as one, connected(gateway.address) as other:
        for connection in (one, other):
            connection.send(get(READING))
            async with asyncio.timeout(PATIENCE):
                await came.acquire()
        async with connected(gateway.address) as third:
            answer = await third.answer()
            assert_failure(answer, 503, "UNAVAILABLE", "connections")
            assert int(answer.headers["Retry-After"]) >= 1
            assert await third.ended() == b""
        may_answer.set()
        assert [(await connection.answer()).status for connection in (one, other)] == [200, 200]


async def test_one_client_has_no_more_connections_than_the_setting(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_connections_per_client=2)
    async with connected(gateway.address) as one, connected(gateway.address) as other:
        for connection in (one, other):
            connection.send(get(READING))
            assert (await connection.answer()).status == 200
        assert_failure(await exchange(gateway.address, b""), 503, "UNAVAILABLE", "connections")


@contextmanager
def file_descriptors(count: int) -> Iterator[None]:
    """Set the limit of open files for programs started in this context."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.resilience
@pytest.mark.parametrize("with_tls", [False, True])
async def test_idle_connections_do_not_use_up_the_file_descriptors(
    foreign: ForeignServer, weather: Weather, programs: Programs, tmp_path: Path, *, with_tls: bool
) -> None:
    certificates, address = Certificates(tmp_path), free_address()
    certificate, key = certificates.issue("gateway", "127.0.0.1")
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key)) if with_tls else ()
    with file_descriptors(200):
        gateway = programs.gateway(address, foreign.address, "--descriptor-set", str(weather.descriptor_set), *files)
    context = ssl.create_default_context(cafile=certificates.ca) if with_tls else None
    with await asyncio.to_thread(idle, address, 400) as crowd:
        reader, writer = await asyncio.open_connection(*address.split(":"), ssl=context)
        writer.write(get(READING, "Connection: close"))
        async with asyncio.timeout(PATIENCE):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert crowd.hung_up() >= 200
    assert gateway.printed.count("\n") < 100


async def test_headers_have_a_largest_size_all_together(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_timeout=PATIENCE)
    with await asyncio.to_thread(half_headers, gateway.address, 1, 60_000) as small:
        async with connected(gateway.address) as connection:
            connection.send(request("GET", READING)[:-2] + b"".join(b"X: %s\r\n" % (b"x" * 8000) for _ in range(10)))
            assert_failure(await connection.answer(), 400, "INVALID_ARGUMENT", "all together")
            assert await connection.ended() == b""
        assert small.hung_up() == 0


@pytest.mark.parametrize("part", ["headers", "bodies"])
async def test_requests_that_are_not_whole_hold_little_memory(start_gateway: StartGateway, part: str) -> None:
    gateway = await start_gateway(max_buffered=MEGABYTE, header_timeout=PATIENCE, body_timeout=PATIENCE)
    if part == "headers":
        crowd = await asyncio.to_thread(half_headers, gateway.address, 40, 60_000)
        expected = 40 - MEGABYTE // 60_000 - 1
    else:
        crowd = await asyncio.to_thread(half_bodies, gateway.address, 8, READINGS, 600_000)
        expected = 8 - 2
    with crowd:
        await until_hung_up(crowd, expected)
        assert (await exchange(gateway.address, post(READINGS, b"{}"))).status == 200


async def test_large_headers_that_were_answered_hold_little_memory(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_buffered=MEGABYTE)
    padding = [f"X-{number}: " + "x" * 8000 for number in range(7)]
    with await asyncio.to_thread(garbage, gateway.address, 40, get(READING, *padding)) as crowd:
        await until_hung_up(crowd, 40 - MEGABYTE // 56_000 - 1)
        assert (await exchange(gateway.address, get(READING))).status == 200


async def test_bodies_that_arrive_are_not_in_flight(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_in_flight=1, body_timeout=PATIENCE)
    async with connected(gateway.address) as slow, connected(gateway.address) as quick:
        slow.send(
            head_of("POST", READINGS, "Content-Type: application/json", "Content-Length: 2", "Expect: 100-continue")
        )
        assert (await slow.head()).status == 100
        quick.send(post(READINGS, b"{}"))
        assert (await quick.answer()).status == 200
        slow.send(b"{}")
        assert (await slow.answer()).status == 200


def large(foreign: ForeignServer, weather: Weather, size: int = 3 * MEGABYTE) -> None:
    """Make unary calls reply with a note of ``size`` bytes."""
    serialized = weather.reading("x" * size)

    async def answer(_request: Message, _context: Context) -> bytes:
        return serialized

    foreign.unary = answer


async def test_an_answer_is_in_flight_until_its_client_has_taken_it(
    foreign: ForeignServer, weather: Weather, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_in_flight=1, idle_timeout=PATIENCE)
    large(foreign, weather)
    with await asyncio.to_thread(unread, gateway.address, 1, get(READING) * 4) as crowd:
        async with asyncio.timeout(PATIENCE):
            while (answer := await exchange(gateway.address, get("/nothing"))).status != 503:
                pass
        assert_failure(answer, 503, "UNAVAILABLE", "being answered")
        async with asyncio.timeout(PATIENCE):
            while (await exchange(gateway.address, get("/nothing"))).status == 503:
                crowd.hung_up()  # reads the responses


async def test_clients_that_do_not_read_make_room_for_others(
    foreign: ForeignServer, weather: Weather, start_gateway: StartGateway, logged: list[LogLine]
) -> None:
    gateway = await start_gateway(max_buffered=4 * MEGABYTE, idle_timeout=PATIENCE * 4)
    large(foreign, weather)
    with await asyncio.to_thread(unread, gateway.address, 2, get(READING) * 8):
        async with asyncio.timeout(PATIENCE):
            while (await exchange(gateway.address, get(READING))).status == 200:
                pass  # until buffered responses leave no room for this request
            while (await exchange(gateway.address, get(READING))).status == 503:
                pass
    assert "connection closed" in [line["event"] for line in logged]


async def test_streams_have_a_bound_of_their_own(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_streams=1, heartbeat=0.05)

    async def wait(_request: Message, _context: Context) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    foreign.stream = wait
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        assert_failure(await exchange(gateway.address, get(WATCH)), 503, "UNAVAILABLE", "streams")
        assert (await exchange(gateway.address, get(READING))).status == 200


async def test_a_refused_body_is_not_read_for_ever(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    async with connected(gateway.address) as connection:
        connection.send(head_of("POST", READINGS, f"Content-Length: {1 << 40}"))
        assert_failure(await connection.answer(), 400, "INVALID_ARGUMENT", str(1 << 40))
        ended = asyncio.ensure_future(connection.ended())
        while not ended.done():
            connection.send(b" " * 65536)
            await asyncio.wait((ended,), timeout=0.001)
        assert ended.result() == b""


@pytest.mark.parametrize("name", costly_bodies(100))
async def test_costly_bodies_are_refused_in_few_words(
    start_gateway: StartGateway, name: str, logged: list[LogLine]
) -> None:
    gateway = await start_gateway(max_body=2 * MEGABYTE)
    answer = await exchange(gateway.address, post(READINGS, costly_bodies()[name]))
    assert_failure(answer, 400, "INVALID_ARGUMENT")
    assert len(answer.body) < 2000
    assert len(str(logged)) < 4000


async def test_a_body_of_tiny_chunks_is_read_in_small_steps(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    pause = Connection.pause_reading

    def count(connection: Connection) -> None:
        steps.append(1)
        pause(connection)

    monkeypatch.setattr(Connection, "pause_reading", count)
    gateway = await start_gateway()
    answer = await exchange(gateway.address, tiny_chunks(READINGS, 100_000))
    assert_failure(answer, 400, "INVALID_ARGUMENT")
    assert len(steps) > 50


async def test_one_connection_is_read_in_pieces(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    read = RequestHandler.data_received

    def note(connection: RequestHandler, data: bytes) -> None:
        pieces.append(len(data))
        read(connection, data)

    monkeypatch.setattr(RequestHandler, "data_received", note)
    gateway = await start_gateway()
    body = b'{"note":"' + b"x" * 900_000 + b'"}'
    async with connected(gateway.address) as connection:
        connection.send(post(READINGS, body) + get(READING) * 100)
        assert [(await connection.answer()).status for _ in range(101)] == [200] * 101
    assert max(pieces) <= 8192


@pytest.mark.parametrize("name", costly_headers(100))
async def test_costly_headers_are_answered_in_few_words(
    start_gateway: StartGateway, name: str, logged: list[LogLine]
) -> None:
    gateway = await start_gateway()
    answer = await exchange(gateway.address, costly_headers()[name].replace(b"GET /", b"GET /v1/readings", 1))
    assert len(answer.body) < 20_000
    assert len(str(logged)) < 4000


@pytest.mark.parametrize(
    "header", ["Accept", "Content-Type", "Content-Encoding", "Expect", "Grpc-Timeout", "X-Weather-Token"]
)
async def test_no_failure_repeats_a_long_header(start_gateway: StartGateway, header: str) -> None:
    gateway = await start_gateway()
    lines = [f"{header}: {'x' * 15_000}"]
    lines += [] if header == "Content-Type" else ["Content-Type: application/json"]
    answer = await exchange(gateway.address, request("POST", READINGS, *lines, body=b"{}"))
    assert len(answer.body) < 1000


@pytest.mark.parametrize("query", ["x" * 15_000, "&".join(f"x{n}=1" for n in range(900)), "note=" + "x" * 15_000])
async def test_no_failure_repeats_a_long_query(start_gateway: StartGateway, query: str) -> None:
    gateway = await start_gateway()
    answer = await exchange(gateway.address, get(f"{READING}?{query}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT")
    assert len(answer.body) < 16_000
