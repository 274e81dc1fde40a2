"""Many calls over one stream: everything that waits goes as one frame."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

import grpc
from google.protobuf.message import DecodeError

from gateway.reply import Metadata, Reply
from multiplex.v1 import multiplex_pb2 as pb

METHOD = "/multiplex.v1.MultiplexService/Multiplex"

FRAME_BYTES = 256 * 1024
"""The most a frame holds; a larger call goes by itself."""

ASK_AGAIN_SECONDS = 60.0
"""How long a server that lacks the service is not asked for it again."""

OPEN_AGAIN_SECONDS = 0.5
"""How long nothing is opened after a stream that could not be opened."""

_ENTRY_BYTES = 16
"""More than the tag and the length of a call in a frame."""

_MOST_MILLISECONDS = 2**32 - 1

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StreamBroken(Exception):
    """The stream ended before the call was answered; it may or may not have been carried out."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class MultiplexStream:
    """One stream to a server, from its first frame to its end."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Open a stream; it is ready when the server says so."""
        multicallable: grpc.aio.StreamStreamMultiCallable[pb.MultiplexRequest, bytes]
        # No deserializer: gRPC would log a frame that is none, and wait for a stream's end that may never come.
        multicallable = channel.stream_stream(METHOD, pb.MultiplexRequest.SerializeToString)
        self._stream = multicallable()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[pb.Answer]] = {}
        self._calls: dict[int, pb.Call] = {}
        self._cancelled: list[int] = []
        self._to_write = asyncio.Event()
        self._is_draining = False
        self._max_in_flight = 0
        self.is_ready = False
        """Whether it takes calls: the server has said that it has the service, and not that it drains."""
        self.was_ready = False
        self.broken: StreamBroken | None = None
        self._tasks = (asyncio.create_task(self._read()), asyncio.create_task(self._write()))

    @property
    def is_opening(self) -> bool:
        """Whether the server has not said yet that it has the service."""
        return self.broken is None and not self.was_ready

    @property
    def is_refused(self) -> bool:
        """Whether the server lacks the service."""
        return self.broken is not None and self.broken.code is grpc.StatusCode.UNIMPLEMENTED

    @property
    def has_room(self) -> bool:
        """Whether it takes a call more; beyond, the server would read nothing, not even what is cancelled."""
        return self.is_ready and len(self._answers) < self._max_in_flight

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float) -> Reply | None:
        """Make a call; the caller gives up by cancelling. None if it is too large for a frame.

        Raises:
            StreamBroken: the stream ended first.
        """
        if self.broken is not None:
            raise self.broken
        call_id = next(self._ids)
        entries = [
            pb.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode("ascii"))
            for key, value in metadata
        ]
        timeout_ms = min(max(round(seconds * 1000), 1), _MOST_MILLISECONDS)
        call = pb.Call(id=call_id, method=method, request=request, metadata=entries, timeout_ms=timeout_ms)
        if call.ByteSize() + _ENTRY_BYTES > FRAME_BYTES:
            return None
        answer: asyncio.Future[pb.Answer] = asyncio.get_running_loop().create_future()
        self._answers[call_id] = answer
        self._calls[call_id] = call
        self._to_write.set()
        try:
            return _reply(await answer)
        except asyncio.CancelledError:
            if self._calls.pop(call_id, None) is None:
                self._cancelled.append(call_id)
            raise
        finally:
            del self._answers[call_id]
            if self._cancelled or self._is_draining:
                self._to_write.set()

    def close(self) -> None:
        """Cut the stream."""
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
            # What answers there has something of this name, but not the service.
            code, message = grpc.StatusCode.UNIMPLEMENTED, "The server sent a frame that cannot be read."
        finally:
            self._break(code, message)

    def _take(self, frame: pb.MultiplexResponse) -> None:
        if frame.max_in_flight and not self.was_ready:
            self._max_in_flight = frame.max_in_flight
            self.is_ready = self.was_ready = True
        if frame.draining:
            self.is_ready, self._is_draining = False, True
            self._to_write.set()
        for answer in frame.answers:
            waiting = self._answers.get(answer.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    async def _write(self) -> None:
        try:
            while self.broken is None:
                await self._to_write.wait()
                self._to_write.clear()
                for frame in self._frames():
                    await self._stream.write(frame)
                if self._is_draining and not self._answers and not self._cancelled:
                    await self._stream.done_writing()
                    return
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the reader learns why

    def _frames(self) -> Iterator[pb.MultiplexRequest]:
        calls, self._calls = self._calls, {}
        cancelled, self._cancelled = self._cancelled, []
        if calls or cancelled:
            yield from _split(calls.values(), cancelled)

    def _break(self, code: grpc.StatusCode, message: str) -> None:
        if self.broken is not None:
            return
        self._stream.cancel()
        self.is_ready = False
        self.broken = StreamBroken(code, message)
        self._to_write.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(StreamBroken(code, message))


class Multiplexing:
    """Keeps a stream to a server, and opens another where one ends; calls are not held up by that."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Open a stream with the first call."""
        self._channel = channel
        self._stream: MultiplexStream | None = None
        self._ending: list[MultiplexStream] = []
        self._open_after = 0.0

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float) -> Reply | None:
        """Make a call; None if it has to be made by itself: it is too large, or no stream is ready and has room.

        Raises:
            StreamBroken: the stream ended first.
        """
        stream = self._stream
        if stream is None or not stream.is_ready:
            self._open()
            return None
        if len(request) > FRAME_BYTES or not stream.has_room:
            return None
        return await stream.call(method, request, metadata, seconds)

    def close(self) -> None:
        """Cut the stream, and those that are still ending."""
        for stream in (*self._ending, *([self._stream] if self._stream else [])):
            stream.close()

    def _open(self) -> None:
        """Open a stream, if none is being opened and the last one did not just fail to."""
        stream, now = self._stream, time.monotonic()
        if stream is not None and stream.is_opening:
            return
        if stream is not None and (stream.is_refused or not stream.was_ready):
            self._open_after = now + ASK_AGAIN_SECONDS if stream.is_refused else now + OPEN_AGAIN_SECONDS
            self._stream = None
        if now >= self._open_after:
            self._ending = [each for each in (*self._ending, self._stream) if each and each.broken is None]
            self._stream = MultiplexStream(self._channel)


def _split(calls: Iterable[pb.Call], cancelled: Sequence[int]) -> Iterator[pb.MultiplexRequest]:
    frame = pb.MultiplexRequest(cancelled_ids=cancelled)
    size = frame.ByteSize()
    for call in calls:
        more = call.ByteSize() + _ENTRY_BYTES  # metadata count too: a token can be larger than all else
        if size and size + more > FRAME_BYTES:
            yield frame
            frame, size = pb.MultiplexRequest(), 0
        frame.calls.append(call)
        size += more
    yield frame


def _reply(answer: pb.Answer) -> Reply:
    if answer.code == 0:
        return Reply(grpc.StatusCode.OK, "", answer.response, ())
    trailers = [
        (entry.key, entry.value if entry.key.endswith("-bin") else entry.value.decode("ascii", "replace"))
        for entry in answer.trailers
    ]
    return Reply(_CODES.get(answer.code, grpc.StatusCode.UNKNOWN), answer.message, b"", trailers)
