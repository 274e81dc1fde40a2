"""The service ``multiplex.v1``: many unary calls over one stream, each carried out like a separate call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import grpc

from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.call_handler import CallHandler, ResourceExhausted, UnaryCall
from restmap.multiplexing.frames import (
    ProtocolViolation,
    QueuedAnswer,
    answer_of,
    call_of,
    entry_bytes,
    frames_of,
    lost,
    no_method,
    parsed,
)
from restmap.multiplexing.peer import Peer, peer_of
from restmap.multiplexing.stream import begin_stream
from restmap.multiplexing.stream_slots import StreamSlots
from restmap.multiplexing.traffic import Traffic

SERVICE = pb.DESCRIPTOR.services_by_name["MultiplexService"].full_name

MAX_IN_FLIGHT = 1024
"""Default maximum of calls in flight on a stream; a gateway sends further calls as separate gRPC calls."""

_STREAM_BYTES = 4 * 1024 * 1024
"""Bytes of a stream's requests in progress and unwritten answers; beyond this, the stream is not read."""

_MAX_STREAMS = 64
"""Maximum streams of all peers: each may hold `_STREAM_BYTES` and an arriving message."""

Context = grpc.aio.ServicerContext[bytes, pb.MultiplexResponse]


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules for opening streams."""

    refusal: Callable[[Peer], str] | None = None
    """Function that returns why a peer may not open a stream, as a message for the client, or an empty text if the
    peer may. None: every peer may open streams."""
    streams_of_peer: int = 16
    """Maximum streams of one peer: of one certificate name, or without a certificate of one address."""


ANYBODY = Admission()


class Multiplexer:
    """Serves ``multiplex.v1``. The calls of a stream share nothing except the connection."""

    def __init__(
        self,
        call_handler: CallHandler,
        max_in_flight: int = MAX_IN_FLIGHT,
        traffic: Traffic | None = None,
        admission: Admission = ANYBODY,
    ) -> None:
        """Create the service.

        Args:
            call_handler: carries out the calls.
            max_in_flight: maximum calls of a stream that are in progress or whose answers are not written.
            traffic: receives the frames; None: a new `Traffic` for this service only.
            admission: rules for opening streams.
        """
        self._call_handler = call_handler
        self._max_in_flight = max_in_flight
        self._traffic = traffic or Traffic()
        self._admission = admission
        self._streams: dict[_Stream, asyncio.Task[None]] = {}
        self._slots = StreamSlots("multiplexed streams", admission.streams_of_peer, _MAX_STREAMS)
        self._draining = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler to add to a server."""
        # No deserializer: gRPC would report an invalid frame as a defect of the server.
        method: grpc.RpcMethodHandler[bytes, pb.MultiplexResponse]
        method = grpc.stream_stream_rpc_method_handler(self._serve, None, pb.MultiplexResponse.SerializeToString)
        return grpc.method_handlers_generic_handler(SERVICE, {"Multiplex": method})

    def drain(self) -> None:
        """Ask every client to send new calls elsewhere. Calls in progress are finished."""
        self._draining = True
        for stream in self._streams:
            stream.drain()

    async def closed(self) -> None:
        """Wait until no stream is left: `server.stop` does not wait for the calls that it cancels."""
        while self._streams:
            await asyncio.wait(self._streams.values())

    async def _serve(self, _: object, context: Context) -> None:
        peer = peer_of(context)
        if self._admission.refusal is not None and (why := self._admission.refusal(peer)):
            # UNIMPLEMENTED, as without this service: a gateway that lacks the permission then sends separate calls.
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, why)
        await begin_stream(context)
        try:
            with self._slots.taken(peer):
                await self._run(_Stream(self._call_handler, context, peer, self._max_in_flight, self._traffic))
                return
        except ProtocolViolation as violation:
            code, why = grpc.StatusCode.INVALID_ARGUMENT, str(violation)
        except ResourceExhausted as exhausted:
            code, why = grpc.StatusCode.RESOURCE_EXHAUSTED, exhausted.message
        await context.abort(code, why)

    async def _run(self, stream: _Stream) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._streams[stream] = task
        task.add_done_callback(lambda _: self._streams.pop(stream))
        if self._draining:
            stream.drain()
        await stream.run()


class _Stream:
    """One stream: a reader that starts calls, and a writer that sends answers."""

    def __init__(
        self, call_handler: CallHandler, context: Context, peer: Peer, max_in_flight: int, traffic: Traffic
    ) -> None:
        self._call_handler = call_handler
        self._context = context
        self._peer = peer
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[int, asyncio.Task[pb.Answer]] = {}
        self._max_in_flight = max_in_flight
        self._has_room = asyncio.Event()
        self._answered: list[QueuedAnswer] = []
        self._unwritten = 0
        """Number of calls that have ended, but whose answers gRPC has not written yet."""
        self._bytes = 0
        """Bytes of the requests in flight and of the unwritten answers."""
        self._has_served = False
        """Whether a call of this stream has succeeded: then its client is a known caller."""
        self._held = 0
        """Bytes of the unwritten answers that `Traffic` counts as held."""
        self._to_write = asyncio.Event()
        self._drain_to_tell = False
        self._ended = False

    async def run(self) -> None:
        """Serve until the client has no more calls and all are answered, or until the stream breaks.

        Raises:
            ProtocolViolation: the client violated the protocol.
            ResourceExhausted: a frame exceeds the limits of `Traffic`.
        """
        writing, finishing = asyncio.create_task(self._write()), asyncio.create_task(self._finish())
        try:
            await asyncio.wait((writing, finishing), return_when=asyncio.FIRST_COMPLETED)
            if finishing.done():
                finishing.result()
            await writing
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            raise asyncio.CancelledError from None  # the client has disconnected; gRPC would report a defect
        finally:
            # A broken stream cancels its calls, as a broken connection cancels separate calls.
            tasks = (writing, finishing, *self._in_flight.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._traffic.release(self._peer.address, self._held)

    def drain(self) -> None:
        """Ask the client to send new calls elsewhere."""
        self._drain_to_tell = True
        self._to_write.set()

    async def _finish(self) -> None:
        """Read calls until the client has no more, and wait for the calls in progress."""
        await self._read()
        while self._in_flight:
            await asyncio.wait(self._in_flight.values())
        self._ended = True
        self._to_write.set()

    async def _read(self) -> None:
        while (serialized := await self._traffic.receive_frame(self._context, self._is_busy)) is not None:
            frame = parsed(serialized)
            for call_id in frame.cancelled_ids:
                if task := self._in_flight.get(call_id):
                    task.cancel()
            for call in frame.calls:
                if call.id in self._in_flight:
                    raise ProtocolViolation(f"two calls have the id {call.id}")
                while self._is_full():
                    self._has_room.clear()
                    await self._has_room.wait()
                self._begin(call)

    def _is_busy(self) -> bool:
        return self._has_served or bool(self._in_flight) or self._unwritten > 0

    def _is_full(self) -> bool:
        # Unwritten answers count as well: if a client does not read its answers, its calls are not read either.
        return len(self._in_flight) + self._unwritten >= self._max_in_flight or self._bytes >= _STREAM_BYTES

    def _begin(self, call: pb.Call) -> None:
        seconds = call.timeout_ms / 1000 if call.HasField("timeout_ms") else None
        size = call.ByteSize()
        self._bytes += size
        # Copied out of the frame here: a task with a reference to the call would keep the whole frame in memory.
        made = call_of(call, self._peer, seconds)
        task = self._in_flight[call.id] = self._loop.create_task(self._answer(call.id, made))
        # A callback and not code of the task: a task that is cancelled before its start runs no code.
        task.add_done_callback(partial(self._leave, call.id, size))

    def _leave(self, call_id: int, size: int, task: asyncio.Task[pb.Answer]) -> None:
        del self._in_flight[call_id]
        self._bytes -= size
        self._has_room.set()
        if not task.cancelled():
            self._put(task.result())
        self._to_write.set()

    def _put(self, answer: pb.Answer) -> None:
        """Queue an answer to be written. If it is large and exceeds the limit, queue an error instead."""
        size = entry_bytes(answer)
        try:
            held = self._traffic.hold(self._peer.address, size)
        except ResourceExhausted:
            # The call was carried out, so the error must not promise that nothing was done.
            answer, held = lost(answer.id), 0
            size = entry_bytes(answer)
        self._has_served = self._has_served or answer.code == 0
        self._held += held
        self._bytes += size
        self._unwritten += 1
        self._answered.append(QueuedAnswer(answer, size, held))

    async def _answer(self, call_id: int, call: UnaryCall | pb.Answer) -> pb.Answer:
        if isinstance(call, pb.Answer):
            return call
        if not self._call_handler.serves(call.method):
            return no_method(call_id, call.method)
        return answer_of(call_id, await self._call_handler.carry_out(call))

    async def _write(self) -> None:
        await self._context.write(pb.MultiplexResponse(max_in_flight=self._max_in_flight))
        while not self._ended or self._answered:
            await self._to_write.wait()
            self._to_write.clear()
            while self._answered or self._drain_to_tell:
                waiting, self._answered = self._answered, []
                # Reset before the write, like the list: the server may begin to drain during any write.
                draining, self._drain_to_tell = self._drain_to_tell, False
                for frame in frames_of(waiting):
                    answers = [each.answer for each in frame]
                    await self._context.write(pb.MultiplexResponse(answers=answers, draining=draining))
                    self._wrote(frame)

    def _wrote(self, frame: list[QueuedAnswer]) -> None:
        held = sum(each.held for each in frame)
        self._traffic.release(self._peer.address, held)
        self._held -= held
        self._bytes -= sum(each.size for each in frame)
        self._unwritten -= len(frame)
        self._has_room.set()
