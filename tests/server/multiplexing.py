"""The client side of a stream with hand-written frames, and a test method on the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import Message

from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2.backup_sharing_pb2 import GetSharingRequest
from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.frames import FRAME_BYTES
from restmap.multiplexing.multiplexer import SERVICE, Multiplexer
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import GET, GIVERS_TOKEN, channel_to
from tests.server.identities import GIVER

PATIENCE = 30.0
STREAM = f"/{SERVICE}/Multiplex"
HUGE = 6 * 1024 * 1024

Stub = grpc.aio.StreamStreamMultiCallable


class Desk:
    """A method whose calls behave as their id says; other calls return their request."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Condition()

    def method(self) -> ServedMethod:
        return ServedMethod(GET, GetSharingRequest, lambda request: str(request.project_id), self.handle)

    async def handle(self, _: Caller, request: GetSharingRequest) -> Message:
        await self._note(self.begun, request.id)
        try:
            match request.id.partition("-")[0]:
                case "slow":
                    await self.open.wait()
                case "broken":
                    raise RuntimeError("a defect")
                case "huge":
                    return GetSharingRequest(id="x" * HUGE)
                case "large":
                    return GetSharingRequest(id="x" * (FRAME_BYTES // 3))
        except asyncio.CancelledError:
            await self._note(self.cancelled, request.id)
            raise
        return request

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(happened)

    async def _note(self, notes: list[str], id: str) -> None:
        notes.append(id)
        async with self.changed:
            self.changed.notify_all()


class Client:
    """One stream; every wait has a timeout of `PATIENCE` seconds."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        multicallable: Stub = channel.stream_stream(STREAM, _serialized, pb.MultiplexResponse.FromString)
        self.stream = multicallable()
        self.frames: list[pb.MultiplexResponse] = []

    async def frame(self) -> pb.MultiplexResponse | None:
        """Return the next frame; None at the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.stream.read()
        if not isinstance(frame, pb.MultiplexResponse):
            return None
        self.frames.append(frame)
        return frame

    async def send(self, *calls: pb.Call, cancel: Sequence[int] = ()) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.stream.write(pb.MultiplexRequest(calls=calls, cancelled_ids=cancel))

    async def send_raw(self, frame: bytes) -> None:
        await self.stream.write(frame)  # type: ignore[arg-type]  # deliberately not a frame

    async def answers(self, number: int) -> Mapping[int, pb.Answer]:
        """Return the next ``number`` answers, by id."""
        found: dict[int, pb.Answer] = {}
        while len(found) < number:
            frame = await self.frame()
            assert frame is not None, f"the stream ended after {len(found)} of {number} answers"
            for answer in frame.answers:
                assert answer.id not in found, "a call has exactly one answer"
                found[answer.id] = answer
        return found

    async def rest(self) -> Sequence[pb.MultiplexResponse]:
        """Close the sending side, and return the remaining frames."""
        await self.stream.done_writing()
        before = len(self.frames)
        while await self.frame() is not None:
            pass
        return self.frames[before:]

    async def code(self) -> grpc.StatusCode:
        async with asyncio.timeout(PATIENCE):
            return await self.stream.code()


def _serialized(frame: pb.MultiplexRequest | bytes) -> bytes:
    return frame if isinstance(frame, bytes) else frame.SerializeToString()


def asked(
    number: int,
    id: str = "",
    *,
    method: str = GET,
    token: str = GIVERS_TOKEN,
    request: bytes | None = None,
    **m: object,
) -> pb.Call:
    metadata = [pb.Metadatum(key="x-auth-token", value=token.encode())] if token else []
    raw = GetSharingRequest(project_id=GIVER, id=id or f"id-{number}").SerializeToString()
    return pb.Call(id=number, method=method, request=raw if request is None else request, metadata=metadata, **m)  # type: ignore[arg-type]  # keyword members


def said(answer: pb.Answer) -> str:
    """Return the id in an answer of the desk."""
    assert answer.code == 0, answer
    return GetSharingRequest.FromString(answer.response).id


def code_of(answer: pb.Answer) -> str:
    return next(code.name for code in grpc.StatusCode if code.value[0] == answer.code)


@asynccontextmanager
async def multiplexing(pipeline: Pipeline, max_in_flight: int = 1000) -> AsyncIterator[tuple[Client, Multiplexer]]:
    """Yield a client that has received the server's first frame, and the multiplexer."""
    multiplexer = Multiplexer(pipeline, max_in_flight, Traffic())
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        client = Client(channel)
        hello = await client.frame()
        assert hello == pb.MultiplexResponse(max_in_flight=max_in_flight)
        yield client, multiplexer
    await multiplexer.closed()
