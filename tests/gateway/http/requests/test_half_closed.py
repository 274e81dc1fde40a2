"""A client that closes its sending side gets its responses; the call of a client that is gone is cancelled."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from google.protobuf.message import Message

from tests.gateway.http.foreign import Context, ForeignServer, Weather, endless, sending
from tests.gateway.http.gateways import Gateway
from tests.support.programs import PATIENCE
from tests.support.wire import Answer, assert_failure, connected, get, head_of, post

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
WATCH = "/v1/stations/berlin:watch"
EVENTS = "Accept: text/event-stream"


class Held:
    """Unary calls that wait until ``may_answer`` is set."""

    def __init__(self, foreign: ForeignServer, weather: Weather) -> None:
        self.called, self.may_answer, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hold(_request: Message, _context: Context) -> bytes:
            self.called.set()
            try:
                await self.may_answer.wait()
            finally:
                self.ended.set()
            return weather.reading("warm")

        foreign.unary = hold


@pytest.fixture
def held(foreign: ForeignServer, weather: Weather) -> Held:
    return Held(foreign, weather)


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def half_closing(gateway: Gateway, *requests: bytes) -> list[Answer]:
    """Send requests and close the sending side; return the responses. The gateway must then close the connection."""
    async with connected(gateway.address) as connection:
        connection.send(b"".join(requests))
        connection.half_close()
        answers = [await connection.answer(is_head=sent.startswith(b"HEAD ")) for sent in requests]
        assert await connection.ended() == b""
    return answers


@pytest.mark.parametrize(
    "sent",
    [
        get(READING),
        head_of("GET", READING, version="1.0"),
        head_of("GET", READING, "Connection: keep-alive", version="1.0"),
        get(READING, "Connection: close"),
        post(READINGS, b'{"note":"warm"}'),
        head_of("POST", READINGS, "Content-Type: application/json", "Transfer-Encoding: chunked")
        + b"2\r\n{}\r\n0\r\n\r\n",
        post(READINGS, b'{"note":"' + b"x" * 200_000 + b'"}'),
        post(READINGS, b"{}", "Expect: 100-continue"),
        get(READING, "Connection: Upgrade", "Upgrade: websocket"),
        get(WATCH),
        get(WATCH, EVENTS),
    ],
    ids=lambda sent: sent[:40].decode(),
)
async def test_a_half_closed_client_gets_its_response(gateway: Gateway, sent: bytes) -> None:
    (answer,) = await half_closing(gateway, sent)
    assert answer.status == 200


async def test_pipelined_requests_of_a_half_closed_client_are_answered(gateway: Gateway) -> None:
    requests = [get(READING), post(READINGS, b"{}"), head_of("HEAD", READING), get("/nothing"), get(WATCH)] * 20
    answers = await half_closing(gateway, *requests)
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200] * 20


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", get("/", "Host: other"), get("/nothing")])
async def test_a_refused_request_of_a_half_closed_client_is_answered(gateway: Gateway, sent: bytes) -> None:
    (answer,) = await half_closing(gateway, sent)
    assert_failure(answer, answer.status, answer.error["code"])


async def test_a_response_of_which_bytes_were_sent_early_is_whole(held: Held, gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(READING) + post(READINGS, b"{}"))
        await until(held.called)
        connection.half_close()
        assert await connection.bytes(3) == b"HTT"
        held.may_answer.set()
        head = await connection.head(b"HTT")
        assert (head.version, head.status) == ("HTTP/1.1", 200)
        assert await connection.bytes(int(head.headers["Content-Length"])) == b'{"note":"warm"}'
        assert (await connection.answer()).json == {"note": "warm"}
        assert await connection.ended() == b""


async def test_the_call_of_a_client_that_is_gone_is_cancelled(held: Held, gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        await until(held.called)
    await until(held.ended)


async def test_a_half_closed_client_that_goes_away_ends_its_call(held: Held, gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        connection.half_close()
        await until(held.called)
        assert await connection.bytes(1) == b"H"
    await until(held.ended)


@pytest.mark.parametrize("accept", ["Accept: */*", EVENTS])
async def test_a_half_closed_stream_goes_on_until_its_client_is_gone(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, accept: str
) -> None:
    ended = endless(foreign, weather.reading("warm"))
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH, accept))
        await connection.head()
        assert b'{"note":"warm"}' in await connection.chunk()
        connection.half_close()
        assert await connection.bytes(2) == b"00"
        assert not ended.is_set()
    await until(ended)


async def test_chunks_after_early_zeros_are_chunks(foreign: ForeignServer, gateway: Gateway, weather: Weather) -> None:
    may_send = asyncio.Event()

    async def wait(_request: Message, _context: Context) -> bytes:
        await may_send.wait()
        return b""

    foreign.stream = sending(weather.reading("warm"), then=wait)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await connection.chunk()
        connection.half_close()
        assert await connection.bytes(1) == b"0"
        may_send.set()
        assert await connection.chunk() == b""
        assert await connection.ended() == b""


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", get(READING)[:-2], head_of("POST", READINGS, "Content-Length: 10") + b"{}"]
)
async def test_half_a_request_of_a_half_closed_client_just_ends(
    foreign: ForeignServer, gateway: Gateway, sent: bytes
) -> None:
    async with connected(gateway.address) as connection:
        connection.send(sent)
        connection.half_close()
        assert await connection.ended() == b""
    assert foreign.seen == []


async def test_after_its_response_a_half_closed_connection_ends(gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(READING))
        assert (await connection.answer()).status == 200
        connection.half_close()
        assert await connection.ended() == b""


async def test_netcat_that_half_closes_prints_the_response(gateway: Gateway) -> None:
    netcat = shutil.which("nc")
    if netcat is None:
        pytest.skip("nc is not installed")
    host, _, port = gateway.address.rpartition(":")
    running = await asyncio.create_subprocess_exec(
        netcat, "-N", host, port, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        printed, _ = await running.communicate(get(READING))
    assert printed.startswith(b"HTTP/1.1 200 OK\r\n")
    assert printed.endswith(b"\r\n\r\n{}")
