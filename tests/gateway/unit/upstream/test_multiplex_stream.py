"""Multiplexed stream to a server whose reads the test controls."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from multiplex.v1 import multiplex_pb2 as pb
from restmap_gateway.upstream.multiplex import FRAME_BYTES, MultiplexStream, SerializedCall, StreamBroken
from restmap_gateway.upstream.reply import Reply

PATIENCE = 30.0


class Wire:
    """Channel with one stream; a write completes while ``may_write`` is set."""

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[object] = asyncio.Queue()
        self.written: asyncio.Queue[pb.MultiplexRequest] = asyncio.Queue()
        self.may_write = asyncio.Event()
        self.may_write.set()

    def stream_stream(self, *_: object) -> Wire:
        return self

    def __call__(self) -> Wire:
        return self

    async def read(self) -> object:
        return await self.arriving.get()

    async def write(self, frame: pb.MultiplexRequest) -> None:
        self.written.put_nowait(frame)
        await self.may_write.wait()

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    async def details(self) -> str:
        return "gone"

    def cancel(self) -> None:
        pass

    async def frame(self) -> pb.MultiplexRequest:
        async with asyncio.timeout(PATIENCE):
            return await self.written.get()

    def answer(self, **frame: object) -> None:
        self.arriving.put_nowait(pb.MultiplexResponse(**frame).SerializeToString())  # type: ignore[arg-type]  # fields by name


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def stream(wire: Wire) -> MultiplexStream:
    stream = MultiplexStream(wire)  # type: ignore[arg-type]  # the methods of a channel that the stream calls
    wire.answer(max_in_flight=10)
    while not stream.is_ready:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0)
    return stream


def calling(stream: MultiplexStream, request: bytes = b"", seconds: float = 100.0) -> asyncio.Task[Reply | None]:
    now = asyncio.get_running_loop().time()
    return asyncio.create_task(
        stream.call(SerializedCall("/a.B/C", request, (), now + seconds, now + seconds + PATIENCE))
    )


async def test_a_broken_stream_loses_what_was_written_and_no_more(wire: Wire, stream: MultiplexStream) -> None:
    wire.may_write.clear()
    written = calling(stream)
    await wire.frame()
    waiting = calling(stream)
    await asyncio.sleep(0)
    wire.arriving.put_nowait(grpc.aio.EOF)
    with pytest.raises(StreamBroken, match="gone"):
        await written
    assert await waiting is None
    assert await calling(stream) is None
    assert wire.written.empty()


async def test_what_waits_while_a_frame_is_written_goes_as_one(wire: Wire, stream: MultiplexStream) -> None:
    wire.may_write.clear()
    calls = [calling(stream)]
    await wire.frame()
    calls += [calling(stream, b"x" * 1000) for _ in range(9)]
    await asyncio.sleep(0)
    wire.may_write.set()
    frame = await wire.frame()
    assert len(frame.calls) == 9
    wire.answer(answers=[pb.Answer(id=number) for number in range(1, 11)])
    assert {reply.code for reply in await asyncio.gather(*calls) if reply} == {grpc.StatusCode.OK}
    stream.close()


async def test_what_is_given_up_before_it_was_written_is_never_written(wire: Wire, stream: MultiplexStream) -> None:
    wire.may_write.clear()
    first = calling(stream)
    await wire.frame()
    second, third = calling(stream), calling(stream)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait((second,))
    wire.may_write.set()
    frame = await wire.frame()
    assert ([call.id for call in frame.calls], list(frame.cancelled_ids)) == ([3], [])
    wire.answer(answers=[pb.Answer(id=1), pb.Answer(id=3)])
    await asyncio.gather(first, third)
    stream.close()


async def test_the_time_that_remains_is_told_when_the_call_is_written(wire: Wire, stream: MultiplexStream) -> None:
    wire.may_write.clear()
    first, second = calling(stream), calling(stream, seconds=0.01)
    (call, _) = (await wire.frame()).calls
    assert 90_000 < call.timeout_ms <= 100_000
    third = calling(stream, seconds=0.001)
    await asyncio.sleep(0.01)
    wire.may_write.set()
    (late,) = (await wire.frame()).calls
    assert late.timeout_ms == 1  # not 0 and not less: the deadline has passed, and the server reports that
    stream.close()
    await asyncio.gather(first, second, third, return_exceptions=True)


@pytest.mark.parametrize(("size", "is_made"), [(FRAME_BYTES - 64, True), (FRAME_BYTES, False)])
async def test_a_call_that_no_frame_holds_is_not_made(
    wire: Wire, stream: MultiplexStream, size: int, is_made: bool
) -> None:
    call = calling(stream, b"x" * size)
    if is_made:
        assert (await wire.frame()).ByteSize() <= FRAME_BYTES
        wire.answer(answers=[pb.Answer(id=1)])
    assert (await call is not None) is is_made
    stream.close()
