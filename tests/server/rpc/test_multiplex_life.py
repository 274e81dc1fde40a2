"""Streams that are cancelled, drained, cut off or stopped, against a real gRPC server."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from backup_sharing.model import Sharing
from backup_sharing.rpc.pipeline import Pipeline
from backup_sharing.rules.commands import Share
from backup_sharing.store.interface import Store
from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest, CountSharingsResponse
from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.multiplexer import SERVICE, Multiplexer
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import COUNT, SHARE, channel_to, share_message
from tests.server.identities import GIVER
from tests.server.multiplexing import PATIENCE, STREAM, Client, Desk, asked, multiplexing, said

pytestmark = pytest.mark.usefixtures("quiet")


class _Details(NamedTuple):
    """The details with which gRPC looks up a method in a generic handler."""

    method: str
    invocation_metadata: tuple[()] = ()


async def test_a_cancel_ends_its_call_and_no_other(client: Client, desk: Desk) -> None:
    await client.send(*(asked(number, f"slow-{number}") for number in range(100)))
    await desk.until(lambda: len(desk.begun) == 100)
    await client.send(cancel=[50, 4711])
    await desk.until(lambda: desk.cancelled == ["slow-50"])
    desk.open.set()
    assert set(await client.answers(99)) == set(range(100)) - {50}
    assert await client.rest() == []


async def test_a_call_cancelled_in_the_next_frame_leaves_nothing(client: Client, desk: Desk) -> None:
    for number in range(200):
        await client.send(asked(number, "slow"))
        await client.send(cancel=[number])
    assert [answer for frame in await client.rest() for answer in frame.answers] == []
    assert await client.code() is grpc.StatusCode.OK


async def test_a_cancelled_change_that_waits_for_the_store_is_not_made(
    pipeline: Pipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Semaphore(0)
    share = type(store).share

    async def noticed(self: Store, command: Share) -> Sequence[Sharing]:
        arrived.release()
        return await share(self, command)

    monkeypatch.setattr(type(store), "share", noticed)
    shares = {number: share_message(f"recipient-{number}").SerializeToString() for number in range(1, 4)}
    count = CountSharingsRequest(project_id=GIVER).SerializeToString()
    async with multiplexing(pipeline) as (client, _):
        with closing(sqlite3.connect(tmp_path / "sharings.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            for number, request in shares.items():
                await client.send(asked(number, method=SHARE, request=request))
                await arrived.acquire()
            await client.send(asked(9, method="none"), cancel=[2])
            assert set(await client.answers(1)) == {9}
        assert {number: answer.code for number, answer in (await client.answers(2)).items()} == {1: 0, 3: 0}
        await client.send(asked(10, method=COUNT, request=count))
        assert CountSharingsResponse.FromString((await client.answers(1))[10].response).count == 2


async def test_the_server_carries_out_no_more_at_once_than_it_said(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline, max_in_flight=3) as (client, _):
        await client.send(*(asked(number, f"slow-{number}") for number in range(10)))
        await desk.until(lambda: len(desk.begun) == 3)
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))
        assert len(desk.begun) == 3
        desk.open.set()
        assert len(await client.answers(10)) == 10


async def test_the_end_of_the_clients_side_lets_all_calls_be_answered(client: Client, desk: Desk) -> None:
    await client.send(asked(1, "slow"))
    await client.stream.done_writing()
    await desk.until(lambda: desk.begun == ["slow"])
    desk.open.set()
    assert said((await client.answers(1))[1]) == "slow"
    assert await client.frame() is None
    assert await client.code() is grpc.StatusCode.OK


async def test_a_drain_is_told_and_calls_in_progress_are_answered(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline) as (client, multiplexer):
        await client.send(asked(1, "slow"))
        await desk.until(lambda: desk.begun == ["slow"])
        multiplexer.drain()
        assert await client.frame() == pb.MultiplexResponse(draining=True)
        await client.send(asked(2))  # sent before the client knew of the drain
        assert said((await client.answers(1))[2]) == "id-2"
        desk.open.set()
        assert [len(frame.answers) for frame in await client.rest()] == [1]
        assert await client.code() is grpc.StatusCode.OK


async def test_a_drain_that_begins_while_the_server_writes_is_told(
    desk_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[pb.MultiplexResponse] = []
    told_of = asyncio.Event()
    multiplexer = Multiplexer(desk_pipeline, 10, Traffic())

    class Context:
        """A stream; the server begins to drain while it writes the first frame with answers."""

        def peer(self) -> str:
            return "peer"

        def auth_context(self) -> dict[str, list[bytes]]:
            return {}

        def __init__(self) -> None:
            self.frames = iter([pb.MultiplexRequest(calls=[asked(1)]).SerializeToString()])

        async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
            pass

        async def read(self) -> object:
            if (frame := next(self.frames, None)) is None:
                await told_of.wait()
            return frame or grpc.aio.EOF

        async def write(self, frame: pb.MultiplexResponse) -> None:
            written.append(frame)
            if frame.answers:
                multiplexer.drain()
                await asyncio.sleep(0)
            if frame.draining:
                told_of.set()

    async with asyncio.timeout(PATIENCE):
        await multiplexer._serve(None, Context())  # type: ignore[arg-type]  # the part of a context that is used
    assert [frame.draining for frame in written] == [False, False, True]


async def test_a_stream_that_opens_while_the_server_drains_is_told(desk_pipeline: Pipeline) -> None:
    multiplexer = Multiplexer(desk_pipeline, 5, Traffic())
    multiplexer.drain()
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        client = Client(channel)
        assert await client.frame() == pb.MultiplexResponse(max_in_flight=5)
        assert await client.frame() == pb.MultiplexResponse(draining=True)
        assert await client.rest() == []
    await multiplexer.closed()


async def test_a_stream_that_breaks_cancels_its_calls_and_no_others(desk_pipeline: Pipeline, desk: Desk) -> None:
    multiplexer = Multiplexer(desk_pipeline, 500, Traffic())
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        first, second = Client(channel), Client(channel)
        for index, client in enumerate((first, second)):
            await client.frame()
            await client.send(*(asked(number, f"slow-{index}-{number}") for number in range(50)))
        await desk.until(lambda: len(desk.begun) == 100)
        first.stream.cancel()
        await desk.until(lambda: len(desk.cancelled) == 50)
        assert {name[:6] for name in desk.cancelled} == {"slow-0"}
        desk.open.set()
        assert len(await second.answers(50)) == 50
    await multiplexer.closed()


@pytest.mark.parametrize("turns", range(12))
async def test_a_stream_may_break_at_any_moment(desk_pipeline: Pipeline, turns: int) -> None:
    multiplexer = Multiplexer(desk_pipeline, 500, Traffic())
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        clients = [Client(channel) for _ in range(10)]
        for client, numbers in itertools.product(clients, (range(20), range(20, 40))):
            if numbers.start == 0 and turns < 2:
                continue
            await client.send(*(asked(number, f"large-{number}") for number in numbers))
        for _ in range(turns):
            await asyncio.sleep(0)
        for client in clients:
            client.stream.cancel()
        survivor = Client(channel)
        await survivor.frame()
        await survivor.send(asked(1))
        assert said((await survivor.answers(1))[1]) == "id-1"
    await multiplexer.closed()


async def test_a_server_that_stops_cancels_calls_and_leaves_no_task(desk_pipeline: Pipeline, desk: Desk) -> None:
    before = asyncio.all_tasks()
    async with multiplexing(desk_pipeline) as (client, _):
        await client.send(*(asked(number, f"slow-{number}") for number in range(20)))
        await desk.until(lambda: len(desk.begun) == 20)
    assert len(desk.cancelled) == 20
    assert [task for task in asyncio.all_tasks() - before if "Stream" in str(task.get_coro())] == []


async def test_calls_past_their_deadlines_leave_nothing_behind(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline) as (client, multiplexer):
        (stream,) = multiplexer._streams
        await client.send(asked(0))
        await client.answers(1)
        before = held_by(stream)
        for first in range(1, 3001, 500):
            await client.send(*(asked(number, "slow", timeout_ms=0) for number in range(first, first + 500)))
            await client.answers(500)
        assert held_by(stream) == before


async def test_cancelled_late_calls_leave_nothing_behind(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline) as (client, multiplexer):
        (stream,) = multiplexer._streams
        await client.send(asked(0))
        await client.answers(1)
        before = held_by(stream)
        for number in range(1, 501):
            await client.send(asked(number, "slow", timeout_ms=0))
            await client.send(cancel=[number])
        await client.rest()
        assert held_by(stream) == before


def held_by(stream: object) -> dict[str, int]:
    """Return the size of each container attribute of a stream, so of everything that it keeps about calls."""
    containers = (dict, set, list, deque)
    return {name: len(kept) for name, kept in vars(stream).items() if isinstance(kept, containers)}


class _FrameFirst:
    """A context whose first frame is there at once, so that the server's first message is still being written."""

    def __init__(self, context: grpc.aio.ServicerContext[bytes, pb.MultiplexResponse], frame: bytes) -> None:
        self._context = context
        self._frame = frame

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)

    async def read(self) -> bytes:
        return self._frame


async def test_a_stream_that_is_refused_while_it_begins_has_a_status(pipeline: Pipeline) -> None:
    multiplexer = Multiplexer(pipeline)
    begun = multiplexer.handler().service(_Details(STREAM))  # type: ignore[arg-type] # the part that is used
    assert begun is not None

    async def serve(requests: object, context: grpc.aio.ServicerContext[bytes, pb.MultiplexResponse]) -> None:
        await begun.stream_stream(requests, _FrameFirst(context, b"not a frame"))  # type: ignore[misc, arg-type] # as above

    method = grpc.stream_stream_rpc_method_handler(serve, None, pb.MultiplexResponse.SerializeToString)
    handler = grpc.method_handlers_generic_handler(SERVICE, {"Multiplex": method})
    async with channel_to(lambda server: server.add_generic_rpc_handlers((handler,))) as channel:
        client = Client(channel)
        assert await client.frame() is not None
        with pytest.raises(grpc.aio.AioRpcError, match="not a serialized"):
            await client.frame()
