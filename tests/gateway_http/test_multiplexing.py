"""A gateway that multiplexes, before a server that writes its frames by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from gateway.multiplex import FRAME_BYTES, METHOD
from multiplex.v1 import multiplex_pb2 as pb
from tests.gateway_http.conftest import StartGateway
from tests.gateway_http.foreign import Context, ForeignServer, Weather
from tests.gateway_http.gateways import Gateway
from tests.gateway_http.wire import PATIENCE, assert_failure, connected, exchange, get, post

READING = "/v1/stations/{}/reading"
READINGS = "/v1/readings"


class Peer(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """The server's end of the streams: a test takes frames and writes frames."""

    def __init__(self) -> None:
        self.streams: list[Context] = []
        self.opened: asyncio.Queue[Context] = asyncio.Queue()
        self.frames: asyncio.Queue[pb.MultiplexRequest] = asyncio.Queue()
        self.end = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.stream_stream_rpc_method_handler(self._serve) if details.method == METHOD else None

    async def stream(self) -> Context:
        async with asyncio.timeout(PATIENCE):
            return await self.opened.get()

    async def calls(self, number: int) -> Sequence[pb.Call]:
        found: list[pb.Call] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < number:
                found += (await self.frames.get()).calls
        return found

    async def cancelled(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while not (ids := (await self.frames.get()).cancelled_ids):
                pass
        return ids[0]

    async def _serve(self, _: object, context: Context) -> None:
        self.streams.append(context)
        self.opened.put_nowait(context)
        ending = asyncio.create_task(self.end.wait())
        reading = asyncio.create_task(self._read(context))
        try:
            await asyncio.wait((ending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            reading.cancel()
        if self.end.is_set():
            self.end.clear()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")

    async def _read(self, context: Context) -> None:
        while isinstance(frame := await context.read(), bytes):
            self.frames.put_nowait(pb.MultiplexRequest.FromString(frame))


@pytest_asyncio.fixture
async def peer(foreign: ForeignServer, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    """Streams on the foreign server, whose unary calls answer with what was asked."""
    peer, service = Peer(), foreign.service
    monkeypatch.setattr(ForeignServer, "service", lambda self, details: peer.service(details) or service(details))

    async def echo(request: Message, _: Context) -> bytes:
        return weather.reading("unary:" + (getattr(request, "station", "") or getattr(request, "note", "")))

    foreign.unary = echo
    yield peer


Open = Callable[[], Awaitable[Context]]


@pytest_asyncio.fixture
async def gateway(peer: Peer, start_gateway: StartGateway) -> Gateway:
    return await start_gateway(multiplex=True)


@pytest.fixture
def opened(peer: Peer, gateway: Gateway) -> Open:
    """Have the gateway open its stream, and say hello."""

    async def opened() -> Context:
        await exchange(gateway.address, get(READING.format("first")))
        stream = await peer.stream()
        await stream.write(pb.MultiplexResponse(max_in_flight=600).SerializeToString())
        answered = asyncio.create_task(_asked_until_multiplexed(gateway))
        (call,) = await peer.calls(1)
        await stream.write(_answers(pb.Answer(id=call.id)))
        await answered
        return stream

    return opened


async def _asked_until_multiplexed(gateway: Gateway) -> None:
    while (await exchange(gateway.address, get(READING.format("probe")))).json.get("note") == "unary:probe":
        pass


def _answers(*answers: pb.Answer) -> bytes:
    return pb.MultiplexResponse(answers=answers).SerializeToString()


async def test_before_the_servers_first_frame_nothing_is_sent(peer: Peer, gateway: Gateway) -> None:
    for _ in range(3):
        assert (await exchange(gateway.address, get(READING.format("oslo")))).json["note"] == "unary:oslo"
    await peer.stream()
    assert peer.frames.empty()
    assert len(peer.streams) == 1


async def test_without_multiplexing_no_stream_is_opened(peer: Peer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(multiplex=False)
    for _ in range(3):
        assert (await exchange(gateway.address, get(READING.format("oslo")))).json["note"] == "unary:oslo"
    assert peer.streams == []


@pytest.mark.parametrize("nonsense", [b"\xff\xff\xff", None])
async def test_a_stream_that_breaks_fails_a_change_and_makes_a_read_again(
    peer: Peer, gateway: Gateway, opened: Open, nonsense: bytes | None
) -> None:
    stream = await opened()
    change = asyncio.create_task(exchange(gateway.address, post(READINGS, b'{"note":"oslo"}')))
    read = asyncio.create_task(exchange(gateway.address, get(READING.format("oslo"))))
    await peer.calls(2)
    if nonsense is None:
        peer.end.set()
    else:
        await stream.write(nonsense)
    assert_failure(await change, 503, "UNAVAILABLE")
    assert (await read).json["note"] == "unary:oslo"


async def test_a_client_that_goes_away_cancels_its_call_only(peer: Peer, gateway: Gateway, opened: Open) -> None:
    stream = await opened()
    stays = asyncio.create_task(exchange(gateway.address, get(READING.format("stays"))))
    (stayed,) = await peer.calls(1)
    async with connected(gateway.address) as connection:
        connection.send(get(READING.format("goes")))
        (gone,) = await peer.calls(1)
    assert await peer.cancelled() == gone.id
    await stream.write(_answers(pb.Answer(id=gone.id), pb.Answer(id=4711), pb.Answer(id=stayed.id)))
    assert (await stays).status == 200


async def test_a_draining_stream_answers_and_another_is_opened(peer: Peer, gateway: Gateway, opened: Open) -> None:
    stream = await opened()
    waits = asyncio.create_task(exchange(gateway.address, get(READING.format("waits"))))
    (call,) = await peer.calls(1)
    await stream.write(pb.MultiplexResponse(draining=True).SerializeToString())
    while peer.opened.empty():
        probe = asyncio.create_task(exchange(gateway.address, get(READING.format("next"))))
        while not probe.done() and peer.frames.empty():  # noqa: ASYNC110 - either of two events
            await asyncio.sleep(0)
        if not peer.frames.empty():
            (crossed,) = await peer.calls(1)
            await stream.write(_answers(pb.Answer(id=crossed.id)))
        await probe
    await stream.write(_answers(pb.Answer(id=call.id)))
    assert (await waits).status == 200


async def test_a_call_larger_than_a_frame_goes_by_itself(peer: Peer, gateway: Gateway, opened: Open) -> None:
    await opened()
    body = b'{"note":"%s"}' % (b"x" * FRAME_BYTES)
    assert (await exchange(gateway.address, post(READINGS, body))).json["note"].startswith("unary:xxx")
    assert peer.frames.empty()


async def test_five_hundred_requests_at_once_each_get_their_own_answer(
    peer: Peer, gateway: Gateway, opened: Open, weather: Weather
) -> None:
    stream = await opened()
    asked = [asyncio.create_task(exchange(gateway.address, get(READING.format(f"s{n}")))) for n in range(500)]
    calls = await peer.calls(500)
    answers = [
        pb.Answer(id=call.id, response=weather.reading(weather.request("GetReading", call.request).station))  # type: ignore[attr-defined]  # of the foreign service
        for call in reversed(calls)
    ]
    await stream.write(_answers(*answers))
    assert [(await each).json["note"] for each in asked] == [f"s{n}" for n in range(500)]
