"""Multiplexing gateway in front of a server whose frames the test writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from multiplex.v1 import multiplex_pb2 as pb
from restmap_gateway.upstream.multiplex import FRAME_BYTES
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.multiplex_peer import Peer, peer_beside
from tests.support.wire import assert_failure, connected, exchange, get, post

READING = "/v1/stations/{}/reading"
READINGS = "/v1/readings"


@pytest_asyncio.fixture
async def peer(foreign: ForeignServer, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Peer]:
    """Add multiplex streams to the foreign server; unary calls reply with the requested station or note."""
    peer = peer_beside(foreign, monkeypatch)

    async def echo(request: Message, _: Context) -> bytes:
        return weather.reading("unary:" + (getattr(request, "station", "") or getattr(request, "note", "")))

    foreign.unary = echo
    yield peer


Open = Callable[..., Awaitable[Context]]
OpenAt = Callable[..., Awaitable[Context]]


@pytest_asyncio.fixture
async def gateway(peer: Peer, start_gateway: StartGateway) -> Gateway:
    return await start_gateway(multiplex=True)


@pytest.fixture
def opened_at(peer: Peer) -> OpenAt:
    """Return a function that makes a gateway open its stream, and sends the server's first frame."""

    async def opened_at(gateway: Gateway, max_in_flight: int = 600) -> Context:
        await exchange(gateway.address, get(READING.format("first")))
        stream = await peer.stream()
        await stream.write(pb.MultiplexResponse(max_in_flight=max_in_flight).SerializeToString())
        answered = asyncio.create_task(_asked_until_multiplexed(gateway))
        (call,) = await peer.calls(1)
        await stream.write(_answers(pb.Answer(id=call.id)))
        await answered
        return stream

    return opened_at


@pytest.fixture
def opened(gateway: Gateway, opened_at: OpenAt) -> Open:
    """Return a function that makes the gateway open its stream, and sends the server's first frame."""

    async def opened(max_in_flight: int = 600) -> Context:
        return await opened_at(gateway, max_in_flight)

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
async def test_a_broken_stream_fails_changes_and_retries_reads(
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
        pb.Answer(id=call.id, response=weather.reading(weather.request("GetReading", call.request).station))  # type: ignore[attr-defined]  # generated from the foreign service
        for call in reversed(calls)
    ]
    await stream.write(_answers(*answers))
    assert [(await each).json["note"] for each in asked] == [f"s{n}" for n in range(500)]


async def test_beyond_the_servers_bound_calls_go_unary(peer: Peer, gateway: Gateway, opened: Open) -> None:
    stream = await opened(2)
    waits = [asyncio.create_task(exchange(gateway.address, get(READING.format("waits")))) for _ in range(2)]
    calls = await peer.calls(2)
    assert (await exchange(gateway.address, get(READING.format("third")))).json["note"] == "unary:third"
    await stream.write(_answers(*(pb.Answer(id=call.id) for call in calls)))
    assert [(await each).status for each in waits] == [200, 200]


async def test_a_call_given_up_is_503_and_cancelled_at_the_server(
    peer: Peer, start_gateway: StartGateway, opened_at: OpenAt
) -> None:
    gateway = await start_gateway(timeout=5.0, commit_margin=0.0)
    await opened_at(gateway)
    asked = asyncio.create_task(exchange(gateway.address, get(READING.format("oslo"), "Grpc-Timeout: 3S")))
    (call,) = await peer.calls(1)
    assert 0 < call.timeout_ms <= 3000
    assert await peer.cancelled() == call.id
    assert_failure(await asked, 503, "UNAVAILABLE")


async def test_metadata_as_large_as_tokens_are_spread_over_frames(
    peer: Peer, gateway: Gateway, opened: Open, weather: Weather
) -> None:
    stream = await opened()
    token = "x" * 8192
    asked = [
        asyncio.create_task(exchange(gateway.address, get(READING.format(f"s{n}"), f"X-Weather-Token: {token}")))
        for n in range(200)
    ]
    calls = await peer.calls(200)
    assert max(peer.sizes) <= FRAME_BYTES
    assert all(_token(call) == token.encode() for call in calls)
    await stream.write(_answers(*(pb.Answer(id=call.id) for call in calls)))
    assert {(await each).status for each in asked} == {200}


def _token(call: pb.Call) -> bytes:
    return next(entry.value for entry in call.metadata if entry.key == "x-weather-token")


@pytest.mark.parametrize(
    ("answer", "sent", "status", "code"),
    [
        (pb.Answer(response=b"\xff"), get(READING.format("oslo")), 502, "UNKNOWN"),
        (pb.Answer(response=b"\xff"), post(READINGS, b"{}"), 500, "INTERNAL"),
        (pb.Answer(code=77, message="odd"), get(READING.format("oslo")), 500, "UNKNOWN"),
        (pb.Answer(code=5, message="No such station."), get(READING.format("oslo")), 404, "NOT_FOUND"),
        (pb.Answer(code=8, message="Too much."), get(READING.format("oslo")), 429, "RESOURCE_EXHAUSTED"),
    ],
)
async def test_what_an_answer_says_is_what_a_call_of_its_own_would_say(
    peer: Peer, gateway: Gateway, opened: Open, answer: pb.Answer, sent: bytes, status: int, code: str
) -> None:
    stream = await opened()
    asked = asyncio.create_task(exchange(gateway.address, sent))
    (call,) = await peer.calls(1)
    answer.id = call.id
    await stream.write(_answers(answer))
    assert_failure(await asked, status, code)


async def test_a_stream_that_ends_unused_is_not_reopened_at_once(
    peer: Peer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restmap_gateway.upstream.multiplex.OPEN_AGAIN_SECONDS", 3600.0)
    await exchange(gateway.address, get(READING.format("first")))
    stream = await peer.stream()
    await stream.write(pb.MultiplexResponse(max_in_flight=10).SerializeToString())
    peer.end.set()
    await peer.over.wait()
    for _ in range(10):
        assert (await exchange(gateway.address, get(READING.format("oslo")))).json["note"] == "unary:oslo"
    assert len(peer.streams) == 1


async def test_a_server_without_the_service_is_asked_for_it_once(
    peer: Peer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def refuse(_: object, context: Context) -> None:
        asked.append(1)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    monkeypatch.setattr(peer, "_serve", refuse)
    for _ in range(10):
        assert (await exchange(gateway.address, get(READING.format("oslo")))).json["note"] == "unary:oslo"
    assert len(asked) == 1
