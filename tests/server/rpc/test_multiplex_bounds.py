"""Limits of a stream, and of the client that opened it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from backup_sharing.identity.interface import GatewayPeers
from backup_sharing.rpc.multiplexing import admission
from backup_sharing.rpc.pipeline import Pipeline
from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.frames import FRAME_BYTES, MAX_ENTRIES, MAX_METADATA_BYTES
from restmap.multiplexing.multiplexer import Admission, Multiplexer
from restmap.multiplexing.traffic import Bounds, Traffic
from tests.server.calls import channel_to
from tests.server.multiplexing import Client, Desk, asked, code_of, multiplexing, said

pytestmark = pytest.mark.usefixtures("quiet")


@asynccontextmanager
async def clients(
    pipeline: Pipeline, number: int, admission: Admission, traffic: Traffic | None = None
) -> AsyncIterator[list[Client]]:
    multiplexer = Multiplexer(pipeline, 100, traffic or Traffic(), admission)
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        yield [Client(channel) for _ in range(number)]
    await multiplexer.closed()


async def test_a_peer_that_is_no_gateway_is_refused_at_once(
    desk_pipeline: Pipeline, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    async with clients(desk_pipeline, 3, admission(GatewayPeers(["gateway"]), 16, only_gateways=True)) as strangers:
        for stranger in strangers:
            assert await stranger.code() is grpc.StatusCode.UNIMPLEMENTED
    assert [line["event"] for line in log_lines()] == ["not_a_gateway"]


async def test_a_peer_may_have_so_many_streams(desk_pipeline: Pipeline) -> None:
    async with clients(desk_pipeline, 3, Admission(streams_of_peer=2)) as opened:
        hellos = await asyncio.gather(*(client.frame() for client in opened), return_exceptions=True)
    (refused,) = [hello for hello in hellos if isinstance(hello, grpc.aio.AioRpcError)]
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 multiplexed streams" in (refused.details() or "")


async def test_a_frame_larger_than_documented_is_misuse(client: Client) -> None:
    await client.send(asked(1, request=bytes(FRAME_BYTES)))
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(FRAME_BYTES) in (await client.stream.details() or "")


@pytest.mark.parametrize(
    "frame",
    [
        pb.MultiplexRequest(calls=[pb.Call(id=index) for index in range(MAX_ENTRIES + 1)]),
        pb.MultiplexRequest(cancelled_ids=range(MAX_ENTRIES + 1)),
    ],
    ids=["calls", "cancelled ids"],
)
async def test_a_frame_of_too_many_entries_is_misuse(client: Client, frame: pb.MultiplexRequest) -> None:
    await client.send_raw(frame.SerializeToString())
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(MAX_ENTRIES) in (await client.stream.details() or "")


async def test_a_call_with_too_much_metadata_is_refused_alone(client: Client) -> None:
    await client.send(asked(1, token="t" * MAX_METADATA_BYTES), asked(2))
    answers = await client.answers(2)
    assert code_of(answers[1]) == "RESOURCE_EXHAUSTED"
    assert str(MAX_METADATA_BYTES) in answers[1].message
    assert said(answers[2]) == "id-2"


async def test_the_name_of_an_unknown_method_is_shortened(client: Client) -> None:
    await client.send(asked(1, method="/" + "m" * 100_000))
    assert (await client.answers(1))[1].ByteSize() < 200


async def test_answers_not_written_count_as_in_flight(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline, max_in_flight=20) as (client, _):
        sending = asyncio.create_task(client.send(*(asked(number, f"large-{number}") for number in range(200))))
        await desk.until(lambda: len(desk.begun) >= 20)
        # Flow control passes a few unread answers; then the server neither writes more nor begins more calls.
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(1000)))
        assert len(desk.begun) < 60
        assert len(await client.answers(200)) == 200
        await sending


async def test_an_answer_there_is_no_room_for_is_lost(desk_pipeline: Pipeline) -> None:
    async with clients(desk_pipeline, 1, Admission(), Traffic(Bounds(held=0))) as [client]:
        await client.frame()
        await client.send(asked(1, "large-1"), asked(2))
        answers = await client.answers(2)
    assert code_of(answers[1]) == "UNAVAILABLE"
    assert said(answers[2]) == "id-2"


async def test_a_stream_without_room_for_a_frame_ends(desk_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restmap.multiplexing.traffic.TICK_SECONDS", 0.001)
    grown = iter([0])
    traffic = Traffic(Bounds(growth=1), lambda: next(grown, 2**40))
    async with clients(desk_pipeline, 1, Admission(), traffic) as [client]:
        await client.frame()
        assert await client.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
