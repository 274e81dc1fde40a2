"""Methods that answer many times: as NDJSON, a JSON text a line, or as server-sent events.

A failure before the first message has its own HTTP status; a later one is the last record, as the
status has gone out long since. A client that goes away cancels the call. A slow client slows the
stream: no message is read from the server before the one before it is on its way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
import structlog
from aiohttp import web
from google.protobuf.message import DecodeError, Message

from restmap_gateway.errors import RequestFailed
from restmap_gateway.json_map import dumps
from restmap_gateway.transcode import headers
from restmap_gateway.transcode.endpoint import Endpoint, UpstreamCall
from restmap_gateway.transcode.failures import Failures
from restmap_gateway.transcode.http_response import HttpResponse, Stamp
from restmap_gateway.upstream.server_stream import NoMessage, ServerStream
from restmap_gateway.upstream.upstream import Backend

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


class Backpressure(Protocol):
    """Bounds what is written to clients that do not read it."""

    async def write(self, request: web.BaseRequest, size: int, writing: Awaitable[object]) -> None:
        """Write a piece of an answer, of so many bytes; returns when it is handed to the socket.

        Raises:
            ConnectionError: the client is gone, or was closed as it does not read.
        """


class _Layout(Protocol):
    """How records are laid out."""

    content_type: str

    def message(self, text: bytes, message: Message) -> bytes: ...

    def failure(self, text: bytes) -> bytes: ...

    def heartbeat(self) -> bytes: ...


class _Lines:
    """NDJSON. A quiet stream sends nothing: there are no comments."""

    content_type = NDJSON

    def message(self, text: bytes, _: Message) -> bytes:
        return text + b"\n"

    def failure(self, text: bytes) -> bytes:
        return text + b"\n"

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
        # A line break would end the field, and a NUL makes browsers forget the id.
        text = str(getattr(message, self._id_field)).translate({10: None, 13: None, 0: None})
        return b"id: " + text.encode() + b"\n" if text else b""


class StreamingCalls:
    """Carries out calls that have any number of answers."""

    def __init__(
        self,
        upstream: Backend,
        failures: Failures,
        heartbeat_seconds: float,
        stamp: Stamp,
        unwritten: Backpressure,
        most: int,
    ) -> None:
        """Prepare.

        Args:
            upstream: makes the calls.
            failures: writes the failures.
            heartbeat_seconds: after which a quiet stream shows a sign of life.
            stamp: the headers that every answer has.
            unwritten: counts what clients have not read.
            most: streams that may be open.
        """
        self._upstream = upstream
        self._unwritten = unwritten
        self._most = most
        self._failures = failures
        self._heartbeat_seconds = heartbeat_seconds
        self._stamp = stamp
        self._open: set[ServerStream] = set()
        self._is_draining = False
        self._log = structlog.get_logger("restmap_gateway.transcode.stream")

    def drain(self) -> None:
        """End every stream with a failure that says to come again: it may be endless, and nobody waits for it."""
        self._is_draining = True
        for stream in self._open:
            stream.interrupt()

    async def answer(self, call: UpstreamCall) -> HttpResponse | web.StreamResponse:
        """Make the call and pass on what the server sends, until it ends or the client goes away.

        Answers a failure if it is found before anything was sent.

        Raises:
            RequestFailed: 503, too many streams are open.
        """
        layout = _layout(call)
        fixed = {"Content-Type": layout.content_type, "Cache-Control": "no-store"}
        response = web.StreamResponse(headers={**fixed, **self._stamp(call.request, call.request_id)})
        if call.request.method == "HEAD":
            return response
        if len(self._open) >= self._most:
            raise RequestFailed(503, "More streams are open than this gateway takes; try again later.")
        async with self._stream(call) as stream:
            try:
                await self._pass_on(call, stream, response, layout)
            except (grpc.aio.AioRpcError, RequestFailed) as error:
                failure = await self._answer(stream, error, call)
                if not response.prepared:
                    return failure
                cause = {"reason": failure.reason or None, "cause": failure.cause or None}
                self._log.warning("stream failed", status=failure.status, **cause, request_id=call.request_id)
                await self._write(call, response, layout.failure(failure.body))
            await response.write_eof()
        return response

    @asynccontextmanager
    async def _stream(self, call: UpstreamCall) -> AsyncIterator[ServerStream]:
        """The call; it is interrupted when the gateway drains, and cancelled when the context is left."""
        method, request = call.endpoint.method.full_name, call.message.SerializeToString()
        async with self._upstream.stream(method, request, call.metadata, call.seconds) as stream:
            self._open.add(stream)
            if self._is_draining:
                stream.interrupt()
            try:
                yield stream
            finally:
                self._open.discard(stream)

    async def _pass_on(
        self, call: UpstreamCall, stream: ServerStream, response: web.StreamResponse, layout: _Layout
    ) -> None:
        """Send what the server sends, piece by piece; the status goes out with the first, or when that takes long.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: a message cannot be read, or the gateway drains.
        """
        if not await stream.until_message(self._heartbeat_seconds):
            await response.prepare(call.request)
            await response.write(b"")  # has the headers sent
        while (message := await stream.read(self._heartbeat_seconds)) is not NoMessage.MORE:
            piece = layout.heartbeat() if message is NoMessage.YET else _record(call.endpoint, message, layout)
            if not response.prepared:
                await response.prepare(call.request)
            await self._write(call, response, piece)
        if not response.prepared:
            await response.prepare(call.request)

    async def _write(self, call: UpstreamCall, response: web.StreamResponse, piece: bytes) -> None:
        """Write a piece; returns when the socket has it, so that a slow client is not read ahead for."""
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
    """Return if ``Accept`` lets one of the two layouts through.

    Raises:
        RequestFailed: 406.
    """
    if _preference_for_lines(accepted)[0] <= 0 and headers.quality(accepted, EVENTS) <= 0:
        raise RequestFailed(406, f"The answer is {NDJSON} or {EVENTS}, which 'Accept' rules out.")


def _layout(call: UpstreamCall) -> _Layout:
    asked = call.request.headers
    if headers.preference(asked, EVENTS) > _preference_for_lines(asked):
        return _Events(call.endpoint.method.mapping.event_id_field)
    return _Lines()


def _preference_for_lines(accepted: headers.Headers) -> tuple[float, int]:
    # Who wants JSON gets lines of it, unless these were spoken of by name.
    by_name = headers.preference(accepted, NDJSON)
    return by_name if by_name[1] == headers.BY_NAME else max(by_name, headers.preference(accepted, headers.JSON))


def _record(endpoint: Endpoint, serialized: bytes, layout: _Layout) -> bytes:
    try:
        message = endpoint.method.response_class.FromString(serialized)
        return layout.message(dumps(endpoint.write(message)), message)
    except (DecodeError, ValueError) as error:
        raise RequestFailed(502, "The server's answer cannot be read.") from error
