"""Sends many calls over one stream; all waiting calls go into one frame, up to its maximum size."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

import grpc
from google.protobuf.message import DecodeError

from multiplex.v1 import multiplex_pb2 as pb
from restmap_gateway.upstream.counts import UpstreamCounts
from restmap_gateway.upstream.reply import Metadata, Reply

METHOD = "/multiplex.v1.MultiplexService/Multiplex"

FRAME_BYTES = 256 * 1024
"""Maximum bytes of a frame; larger calls are sent outside the stream."""

ASK_AGAIN_SECONDS = 60.0
"""Seconds until the next attempt with a server that lacks the service."""

OPEN_AGAIN_SECONDS = 0.5
"""Seconds until the next stream after one that ended before its first reply."""

_ENTRY_BYTES = 16
"""Bytes that cover the tag and the length of a call in a frame."""

_MOST_MILLISECONDS = 2**32 - 1

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StreamBroken(Exception):
    """The stream ended before the reply to the call; it is unknown whether the call was carried out."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class SerializedCall:
    """A unary call to make."""

    method: str
    """Name of the method, ``/package.Service/Method``."""
    request: bytes
    """The serialized request."""
    metadata: Metadata
    deadline: float
    """Deadline by the event loop's clock; the server gets the remaining time."""
    give_up: float
    """Time by the event loop's clock after which no reply is awaited."""


class MultiplexStream:
    """One stream to a server, from its first frame to its end."""

    def __init__(self, channel: grpc.aio.Channel, counts: UpstreamCounts | None = None) -> None:
        """Open a stream; it is ready when the server says so. ``counts``: where frames are counted."""
        self._counts = counts or UpstreamCounts()
        multicallable: grpc.aio.StreamStreamMultiCallable[pb.MultiplexRequest, bytes]
        # Without a deserializer: gRPC would only log an invalid frame and wait for an end of the stream that may never
        # come.
        multicallable = channel.stream_stream(METHOD, pb.MultiplexRequest.SerializeToString)
        self._loop = asyncio.get_running_loop()
        self._stream = multicallable()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[pb.Answer | None]] = {}
        self._unsent: dict[int, tuple[pb.Call, int, float]] = {}
        """Waiting calls with their size and deadline, in order."""
        self._cancelled: list[int] = []
        self._to_write = asyncio.Event()
        self._is_draining = False
        self._max_in_flight = 0
        self.is_ready = False
        """Whether the stream accepts calls: the server has confirmed the service and is not draining."""
        self.is_opening = True
        """Whether the server has not confirmed the service yet."""
        self.was_useful = False
        """Whether the server has replied to a call."""
        self.broken: StreamBroken | None = None
        self._tasks = (self._loop.create_task(self._read()), self._loop.create_task(self._write()))

    @property
    def is_refused(self) -> bool:
        """Return whether the server lacks the service."""
        return self.broken is not None and self.broken.code is grpc.StatusCode.UNIMPLEMENTED

    @property
    def has_room(self) -> bool:
        """Return whether the server accepts another call; above its limit it does not even read cancellations."""
        return self.is_ready and len(self._answers) < self._max_in_flight

    async def call(self, unary: SerializedCall) -> Reply | None:
        """Make a call; the caller cancels this coroutine to cancel the call.

        Return None if the call was not sent: it is too large for a frame, or the stream ended before.

        Raises:
            StreamBroken: the stream ended before the reply.
            TimeoutError: there is no reply at the time to give up.
        """
        call_id = next(self._ids)
        call = pb.Call(
            id=call_id,
            method=unary.method,
            request=unary.request,
            metadata=[
                pb.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode("ascii"))
                for key, value in unary.metadata
            ],
            timeout_ms=_MOST_MILLISECONDS,  # the largest size: the time that remains is set when the call is written
        )
        size = call.ByteSize() + _ENTRY_BYTES  # with metadata: a token can be larger than the rest
        if self.broken is not None or size > FRAME_BYTES:
            return None
        answered = self._answers[call_id] = self._loop.create_future()
        self._unsent[call_id] = call, size, unary.deadline
        self._to_write.set()
        timer = self._loop.call_at(unary.give_up, _give_up, answered)
        try:
            answer = await answered
        except (asyncio.CancelledError, TimeoutError):
            if self._unsent.pop(call_id, None) is None:
                self._cancelled.append(call_id)
                self._to_write.set()
            raise
        finally:
            timer.cancel()
            del self._answers[call_id]
            if self._is_draining:
                self._to_write.set()
        return None if answer is None else _reply(answer)

    def close(self) -> None:
        """Cancel the stream."""
        for task in self._tasks:
            task.cancel()
        self._break(grpc.StatusCode.CANCELLED, "The stream was cut.")

    async def _read(self) -> None:
        code, message = grpc.StatusCode.UNKNOWN, "The stream broke."
        try:
            while isinstance(frame := await self._stream.read(), bytes):
                self._take(pb.MultiplexResponse.FromString(frame))
            code, message = await self._stream.code(), await self._stream.details()
        except grpc.aio.AioRpcError as error:
            code, message = error.code(), error.details() or ""
        except DecodeError:
            # The server has a method of this name, but not this service.
            code, message = grpc.StatusCode.UNIMPLEMENTED, "The server sent a frame that cannot be read."
        finally:
            self._break(code, message)

    def _take(self, frame: pb.MultiplexResponse) -> None:
        self._counts.frames_received += 1
        if frame.max_in_flight and self.is_opening:
            self._counts.streams_opened += 1
            self._max_in_flight = frame.max_in_flight
            self.is_ready, self.is_opening = True, False
        if frame.draining:
            self.is_ready, self._is_draining = False, True
            self._to_write.set()
        for answer in frame.answers:
            self.was_useful = True
            waiting = self._answers.get(answer.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    async def _write(self) -> None:
        try:
            while self.broken is None:
                await self._to_write.wait()
                self._to_write.clear()
                while (frame := self._next_frame()) is not None:
                    await self._stream.write(frame)
                if self._is_draining and not self._answers and not self._cancelled:
                    await self._stream.done_writing()
                    return
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the reader finds the cause

    def _next_frame(self) -> pb.MultiplexRequest | None:
        """Return as many waiting calls as fit in a frame; the others stay unsent."""
        if not self._unsent and not self._cancelled:
            return None
        frame = pb.MultiplexRequest(cancelled_ids=self._cancelled)
        self._cancelled.clear()
        size, now = frame.ByteSize(), self._loop.time()
        while self._unsent:
            call_id, (call, more, deadline) = next(iter(self._unsent.items()))
            if size + more > FRAME_BYTES and size:
                break
            del self._unsent[call_id]
            call.timeout_ms = min(max(round((deadline - now) * 1000), 1), _MOST_MILLISECONDS)
            frame.calls.append(call)
            size += more
        self._counts.frame_sent(len(frame.calls))
        return frame

    def _break(self, code: grpc.StatusCode, message: str) -> None:
        if self.broken is not None:
            return
        self._stream.cancel()
        self._counts.streams_ended += not self.is_opening
        self.is_ready = self.is_opening = False
        self.broken = StreamBroken(code, message)
        self._to_write.set()
        unsent, self._unsent = self._unsent, {}
        for call_id, waiting in self._answers.items():
            if waiting.done():
                continue
            if call_id in unsent:
                waiting.set_result(None)
            else:
                waiting.set_exception(StreamBroken(code, message))


class Multiplexing:
    """Keeps a stream to a server and opens another when it ends; calls do not wait for that."""

    def __init__(self, channel: grpc.aio.Channel, counts: UpstreamCounts) -> None:
        """Create it without a stream; the first call opens one. ``counts``: where frames are counted."""
        self._counts = counts
        self._channel = channel
        self._stream: MultiplexStream | None = None
        self._ending: list[MultiplexStream] = []
        self._open_after = 0.0

    async def call(self, unary: SerializedCall) -> Reply | None:
        """Make a call; return None if it must be made outside the stream: too large, or no stream with room is ready.

        Raises:
            StreamBroken: the stream ended before the reply.
            TimeoutError: there is no reply at the time to give up.
        """
        stream = self._stream
        if stream is None or not stream.is_ready:
            self._open()
            return None
        if len(unary.request) > FRAME_BYTES or not stream.has_room:
            return None
        return await stream.call(unary)

    def close(self) -> None:
        """Cancel the stream and those that are still draining."""
        for stream in (*self._ending, *([self._stream] if self._stream else [])):
            stream.close()

    def _open(self) -> None:
        """Open a stream, unless one is being opened or the last one failed a moment ago."""
        stream, now = self._stream, asyncio.get_running_loop().time()
        if stream is not None and stream.is_opening:
            return
        if stream is not None and not stream.was_useful:
            self._open_after = now + (ASK_AGAIN_SECONDS if stream.is_refused else OPEN_AGAIN_SECONDS)
        if stream is not None and stream.broken is None:
            self._ending.append(stream)
        self._stream = None
        if now >= self._open_after:
            self._ending = [each for each in self._ending if each.broken is None]
            self._stream = MultiplexStream(self._channel, self._counts)


def _give_up(answered: asyncio.Future[pb.Answer | None]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError())


def _reply(answer: pb.Answer) -> Reply:
    named = [(entry.key, entry.value) for entry in answer.trailers]
    trailers = [(key, value if key.endswith("-bin") else value.decode("ascii", "replace")) for key, value in named]
    if answer.code == 0:
        return Reply(grpc.StatusCode.OK, "", answer.response, trailers)
    return Reply(_CODES.get(answer.code, grpc.StatusCode.UNKNOWN), answer.message, b"", trailers)
