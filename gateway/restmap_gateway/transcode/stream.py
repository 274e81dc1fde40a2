"""Methods with many response messages: as NDJSON, one JSON text per line, or as server-sent events.

A failure before the first message has its own HTTP status; a later failure is the last record, because the status is
already sent: an event with the name ``error``, or a line as in `line_form`. A client that disconnects cancels the call.
A slow client slows the stream: a message is read from the server only after the previous one was written.

Messages that are not JSON (``google.api.HttpBody``) are one body, with the content type of the first message. It has no
place for a later failure, which therefore breaks the connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
import structlog
from aiohttp import web
from google.protobuf.message import DecodeError, Message

from programkit.tracing.rpc import outgoing
from restmap_gateway.crossing.outward import ResponseHeaders, add_sent
from restmap_gateway.errors import Overload, Overloaded, RequestFailed
from restmap_gateway.json_map import dumps
from restmap_gateway.json_map.line_form import LineForm
from restmap_gateway.transcode import headers
from restmap_gateway.transcode.endpoint import UpstreamCall
from restmap_gateway.transcode.failures import Failures
from restmap_gateway.transcode.http_response import HttpResponse, Stamp
from restmap_gateway.upstream.server_stream import NoMessage, ServerStream
from restmap_gateway.upstream.upstream import Backend

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"

_LINES = (NDJSON, "application/ndjson", "application/jsonl")
"""Media types of lines, the default first."""


class Backpressure(Protocol):
    """Limits the bytes that are written to clients but not read by them."""

    async def write(self, request: web.BaseRequest, size: int, writing: Awaitable[object]) -> None:
        """Write a piece of a response, of ``size`` bytes; return when it is handed to the socket.

        Raises:
            ConnectionError: the client is gone, or its connection was closed because it does not read.
        """


class _Layout(Protocol):
    """Format of the records."""

    content_type: str
    """Empty if the first message has it."""

    def message(self, text: bytes, message: Message) -> bytes: ...

    def failure(self, text: bytes) -> bytes: ...

    def heartbeat(self) -> bytes: ...


class _Lines:
    """NDJSON. There are no heartbeats, because NDJSON has no comments."""

    def __init__(self, content_type: str, form: LineForm) -> None:
        self.content_type = content_type
        self._form = form

    def message(self, text: bytes, _: Message) -> bytes:
        return self._form.message_line(text)

    def failure(self, text: bytes) -> bytes:
        return self._form.failure_line(text)

    def heartbeat(self) -> bytes:
        return b""


class _Events:
    """Server-sent events."""

    content_type = EVENTS

    def __init__(self, id_field: str) -> None:
        self._id_field = id_field

    def message(self, text: bytes, message: Message) -> bytes:
        return self._id(message) + b"data: " + text + b"\n\n"

    def failure(self, text: bytes) -> bytes:
        return b"event: error\ndata: " + text + b"\n\n"

    def heartbeat(self) -> bytes:
        return b":\n\n"

    def _id(self, message: Message) -> bytes:
        if not self._id_field:
            return b""
        # A line break would end the field, and a NUL makes browsers ignore the id.
        text = str(getattr(message, self._id_field)).translate({10: None, 13: None, 0: None})
        return b"id: " + text.encode() + b"\n" if text else b""


class _Contents:
    """Contents that are not JSON, one behind the other. There are neither heartbeats nor failures among them."""

    content_type = ""

    def message(self, text: bytes, _: Message) -> bytes:
        return text

    def failure(self, _: bytes) -> bytes:
        return b""

    def heartbeat(self) -> bytes:
        return b""


class StreamingCalls:
    """Handles server-streaming calls."""

    def __init__(
        self,
        upstream: Backend,
        failures: Failures,
        heartbeat_seconds: float,
        stamp: Stamp,
        unwritten: Backpressure,
        most: int,
        new_response: Callable[[Mapping[str, str]], web.StreamResponse],
        of_success: ResponseHeaders | None = None,
    ) -> None:
        """Create the handler.

        Args:
            upstream: makes the calls.
            failures: makes the responses for failures.
            heartbeat_seconds: idle seconds before a heartbeat.
            stamp: makes the headers that every response has.
            unwritten: counts unread response bytes.
            most: maximum number of open streams.
            new_response: makes a response with headers.
            of_success: makes the headers of successful responses from metadata; None: there are none.
        """
        self._upstream = upstream
        self._unwritten = unwritten
        self._most = most
        self._new_response = new_response
        self._failures = failures
        self._heartbeat_seconds = heartbeat_seconds
        self._stamp = stamp
        self._of_success = of_success
        self._open: set[ServerStream] = set()
        self._is_draining = False
        self._log = structlog.get_logger("restmap_gateway.transcode.stream")

    @property
    def number(self) -> int:
        """Return the number of open streams."""
        return len(self._open)

    def drain(self) -> None:
        """End every stream with a failure that asks for a reconnect: streams can be endless, so none is awaited."""
        self._is_draining = True
        for stream in self._open:
            stream.interrupt()

    async def answer(self, call: UpstreamCall) -> HttpResponse | web.StreamResponse:
        """Make the call and forward the server's messages until it ends or the client disconnects.

        Return a failure if it is found before anything was sent.

        Raises:
            Overloaded: 503, too many streams are open.
        """
        layout = _layout(call)
        # The last header is for nginx, which otherwise keeps records until it has many.
        fixed = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        fixed |= {"Content-Type": layout.content_type} if layout.content_type else {}
        response = self._new_response({**fixed, **self._stamp(call.request, call.request_id)})
        if call.request.method == "HEAD":
            return response
        if len(self._open) >= self._most:
            message = "More streams are open than this gateway takes; try again later."
            raise Overloaded(Overload.STREAMS, message)
        async with self._stream(call) as stream:
            try:
                await self._pass_on(call, stream, response, layout)
            except (grpc.aio.AioRpcError, RequestFailed) as error:
                failure = await self._answer(stream, error, call)
                if not response.prepared:
                    return failure
                cause = {"reason": failure.reason or None, "cause": failure.cause or None}
                self._log.warning("stream failed", status=failure.status, **cause, request_id=call.request_id)
                last = layout.failure(failure.body)
                if not last:
                    # Only a missing end can show the failure to the client.
                    raise ConnectionResetError("the stream failed") from error
                await self._write(call, response, last)
            await response.write_eof()
        return response

    @asynccontextmanager
    async def _stream(self, call: UpstreamCall) -> AsyncIterator[ServerStream]:
        """Open the stream; it is interrupted when the gateway drains, and cancelled when the context exits."""
        method = call.endpoint.method
        request = method.request_class.SerializeToString(call.message)
        with outgoing(method.full_name) as sent:
            metadata = sent.passed_on(call.metadata)
            async with self._upstream.stream(method.full_name, request, metadata, call.seconds) as stream:
                self._open.add(stream)
                if self._is_draining:
                    stream.interrupt()
                try:
                    yield stream
                    code = await stream.code()
                    sent.code = code.value[0], code.name
                finally:
                    self._open.discard(stream)

    async def _pass_on(
        self, call: UpstreamCall, stream: ServerStream, response: web.StreamResponse, layout: _Layout
    ) -> None:
        """Forward the server's messages one by one; send the status with the first, or earlier if that one takes long.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: a message cannot be read, or the gateway drains.
        """
        is_there = await stream.until_message(self._heartbeat_seconds)
        if self._of_success is not None:
            add_sent(response.headers, self._of_success.of(await stream.initial_metadata()))
        if not is_there and layout.content_type:
            await response.prepare(call.request)
        while (message := await stream.read(self._heartbeat_seconds)) is not NoMessage.MORE:
            piece = layout.heartbeat() if message is NoMessage.YET else _record(call, message, layout, response)
            if not response.prepared:
                if message is NoMessage.YET:
                    continue
                await response.prepare(call.request)
            await self._write(call, response, piece)
        if not response.prepared:
            await response.prepare(call.request)

    async def _write(self, call: UpstreamCall, response: web.StreamResponse, piece: bytes) -> None:
        """Write a piece; return when the socket has it, so that no messages are read ahead for a slow client."""
        await self._unwritten.write(call.request, len(piece), response.write(piece))

    async def _answer(
        self, stream: ServerStream, error: grpc.aio.AioRpcError | RequestFailed, call: UpstreamCall
    ) -> HttpResponse:
        if isinstance(error, grpc.aio.AioRpcError):
            try:
                return self._failures.of_reply(await stream.failure(error), call.request_id, call.uncertainty)
            except RequestFailed as found:
                error = found
        return self._failures.of_request(error, call.request_id)


def check_accepts_stream(accepted: headers.Headers) -> None:
    """Return if ``Accept`` allows one of the two formats.

    Raises:
        RequestFailed: 406.
    """
    (quality, _), _ = _preferred_lines(accepted)
    if quality <= 0 and headers.quality(accepted, EVENTS) <= 0:
        raise RequestFailed(406, f"The answer is {NDJSON} or {EVENTS}, which 'Accept' rules out.")


def _layout(call: UpstreamCall) -> _Layout:
    if call.endpoint.write_content is not None:
        return _Contents()
    asked = call.request.headers
    rank, lines = _preferred_lines(asked)
    if headers.preference(asked, EVENTS) > rank:
        return _Events(call.endpoint.method.mapping.event_id_field)
    return _Lines(lines, call.endpoint.lines)


def _preferred_lines(accepted: headers.Headers) -> tuple[tuple[float, int], str]:
    """Return the rank of lines in ``Accept``, and their media type."""
    ranks = {media: headers.preference(accepted, media) for media in _LINES}
    named = [media for media in _LINES if ranks[media][1] == headers.BY_NAME]
    best = max(named, key=ranks.__getitem__, default=NDJSON)
    if named and (ranks[best][0] > 0 or NDJSON in named):
        return ranks[best], best
    # A client that accepts JSON gets NDJSON, unless Accept names NDJSON itself.
    return max(ranks[NDJSON], headers.preference(accepted, headers.JSON)), NDJSON


def _record(call: UpstreamCall, serialized: bytes, layout: _Layout, response: web.StreamResponse) -> bytes:
    try:
        message = call.endpoint.method.response_class.FromString(serialized)
        if call.endpoint.write_content is not None:
            content = call.endpoint.write_content(message)
            if not response.prepared:
                response.headers.update(content.headers)
            return layout.message(content.data, message)
        return layout.message(dumps(call.write(message)), message)
    except (DecodeError, ValueError) as error:
        raise RequestFailed(502, "The server's answer cannot be read.") from error
