"""Many unary calls over one stream, each through the same pipeline as a call of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from multiplex.v1 import multiplex_pb2 as pb
from server.rpc.peers import peer_of
from server.rpc.pipeline import Answer, Call, Pipeline

SERVICE = pb.DESCRIPTOR.services_by_name["MultiplexService"].full_name

FRAME_BYTES = 256 * 1024
"""Beyond this much a frame of answers is not filled further."""

_ENTRY_BYTES = 16
"""More than the tag and the length of an answer in a frame."""

_UNIMPLEMENTED: int = grpc.StatusCode.UNIMPLEMENTED.value[0]

Context = grpc.aio.ServicerContext[bytes, pb.MultiplexResponse]


class _Misused(Exception):
    """The client sent what the protocol does not allow; the message says what."""


class Multiplexer:
    """Serves ``multiplex.v1``. Nothing is shared between the calls of a stream but the pipe."""

    def __init__(self, pipeline: Pipeline, max_in_flight: int) -> None:
        """Carry calls out with ``pipeline``, at most ``max_in_flight`` of a stream at once."""
        self._pipeline = pipeline
        self._max_in_flight = max_in_flight
        self._streams: dict[_Stream, asyncio.Task[None]] = {}
        self._draining = False

    def handler(self) -> grpc.GenericRpcHandler:
        """What to add to a server."""
        # No deserializer: gRPC would call a frame that is none a defect of ours.
        method: grpc.RpcMethodHandler[bytes, pb.MultiplexResponse]
        method = grpc.stream_stream_rpc_method_handler(self._serve, None, pb.MultiplexResponse.SerializeToString)
        return grpc.method_handlers_generic_handler(SERVICE, {"Multiplex": method})

    def drain(self) -> None:
        """Tell every client to send its calls elsewhere; those in progress are finished."""
        self._draining = True
        for stream in self._streams:
            stream.drain()

    async def closed(self) -> None:
        """Return when no stream is left: a server that has stopped has not waited for what it cancelled."""
        while self._streams:
            await asyncio.wait(self._streams.values())

    async def _serve(self, _: object, context: Context) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        stream = _Stream(self._pipeline, context, self._max_in_flight)
        self._streams[stream] = task
        task.add_done_callback(lambda _: self._streams.pop(stream))
        if self._draining:
            stream.drain()
        await stream.run()


class _Stream:
    """One stream: a reader that begins calls, a writer that sends what has been answered."""

    def __init__(self, pipeline: Pipeline, context: Context, max_in_flight: int) -> None:
        self._pipeline = pipeline
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[int, asyncio.Task[pb.Answer]] = {}
        self._max_in_flight = max_in_flight
        self._has_room = asyncio.Event()
        self._answered: list[pb.Answer] = []
        self._to_write = asyncio.Event()
        self._drain_to_tell = False
        self._ended = False
        self._peer = peer_of(context)

    async def run(self) -> None:
        """Serve until the client has no more calls and all are answered; or until the stream breaks."""
        misused = ""
        writing, finishing = asyncio.create_task(self._write()), asyncio.create_task(self._finish())
        try:
            await asyncio.wait((writing, finishing), return_when=asyncio.FIRST_COMPLETED)
            if finishing.done():
                finishing.result()
            await writing
        except _Misused as misuse:
            misused = str(misuse)
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            raise asyncio.CancelledError from None  # the client is gone; gRPC would report a defect
        finally:
            # A broken stream ends its calls as a broken connection ends calls of their own.
            tasks = (writing, finishing, *self._in_flight.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if misused:
            await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, misused)

    def drain(self) -> None:
        """Tell the client to send its calls elsewhere."""
        self._drain_to_tell = True
        self._to_write.set()

    async def _finish(self) -> None:
        """Take calls until the client has no more, and wait for those in progress."""
        await self._read()
        while self._in_flight:
            await asyncio.wait(self._in_flight.values())
        self._ended = True
        self._to_write.set()

    async def _read(self) -> None:
        while isinstance(serialized := await self._context.read(), bytes):
            try:
                frame = pb.MultiplexRequest.FromString(serialized)
            except DecodeError as error:
                raise _Misused(f"a frame is not a serialized {pb.MultiplexRequest.DESCRIPTOR.full_name}") from error
            for call_id in frame.cancelled_ids:
                if task := self._in_flight.get(call_id):
                    task.cancel()
            for call in frame.calls:
                if call.id in self._in_flight:
                    raise _Misused(f"two calls have the id {call.id}")
                while len(self._in_flight) >= self._max_in_flight:
                    self._has_room.clear()
                    await self._has_room.wait()
                self._begin(call)

    def _begin(self, call: pb.Call) -> None:
        deadline = time.monotonic() + call.timeout_ms / 1000 if call.HasField("timeout_ms") else None
        task = self._in_flight[call.id] = self._loop.create_task(self._answer(call, deadline))
        # Not in the task itself: one that is cancelled before it has begun runs nothing at all.
        task.add_done_callback(partial(self._leave, call.id))

    def _leave(self, call_id: int, task: asyncio.Task[pb.Answer]) -> None:
        del self._in_flight[call_id]
        self._has_room.set()
        if not task.cancelled():
            self._answered.append(task.result())
        self._to_write.set()

    async def _answer(self, call: pb.Call, deadline: float | None) -> pb.Answer:
        if not self._pipeline.serves(call.method):
            return pb.Answer(id=call.id, code=_UNIMPLEMENTED, message=f"There is no method {call.method}.")
        text = (entry for entry in call.metadata if not entry.key.endswith("-bin"))
        metadata = {entry.key: entry.value.decode("ascii", "replace") for entry in text}
        made = Call(call.method, call.request, metadata, deadline, self._peer)
        return _answer(call.id, await self._pipeline.carry_out(made))

    async def _write(self) -> None:
        await self._context.write(pb.MultiplexResponse(max_in_flight=self._max_in_flight))
        while not self._ended or self._answered:
            await self._to_write.wait()
            self._to_write.clear()
            while self._answered or self._drain_to_tell:
                waiting, self._answered = self._answered, []
                # As with the list: the server may begin to drain during any write.
                draining, self._drain_to_tell = self._drain_to_tell, False
                for answers in _frames(waiting):
                    await self._context.write(pb.MultiplexResponse(answers=answers, draining=draining))


def _answer(call_id: int, answer: Answer) -> pb.Answer:
    trailers = [
        pb.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode())
        for key, value in answer.trailers
    ]
    if answer.status is None:
        return pb.Answer(id=call_id, response=answer.response, trailers=trailers)
    code: int = answer.status.code.value[0]
    return pb.Answer(id=call_id, code=code, message=answer.status.message, trailers=trailers)


def _frames(answers: list[pb.Answer]) -> Iterable[list[pb.Answer]]:
    """Split what waits so that each frame has its size; at least one frame, which may be empty."""
    frame: list[pb.Answer] = []
    size = 0
    for answer in answers:
        more = answer.ByteSize() + _ENTRY_BYTES  # trailers count too: a failure has nothing else
        if frame and size + more > FRAME_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(answer)
        size += more
    yield frame
