"""Methods that answer many times: as NDJSON, a JSON text a line, or as server-sent events.

A failure before the first message has its own HTTP status; a later one is the last record, as the
status has gone out long since. A client that goes away cancels the call. A slow client slows the
stream: no message is read from the server before the one before it is on its way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError, Message

from gateway import headers
from gateway.answers import Answer, Failures
from gateway.endpoint import Call, Endpoint
from gateway.errors import RequestFailed
from gateway.http_server import Stamp
from gateway.json_map import dumps
from gateway.unary import failed
from gateway.upstream import NoMessage, ServerStream, Upstream

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


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


class Streams:
    """Carries out calls that have any number of answers."""

    def __init__(self, upstream: Upstream, failures: Failures, heartbeat_seconds: float, stamp: Stamp) -> None:
        """Prepare: a sign of life every ``heartbeat_seconds`` in a quiet stream, ``stamp`` as on every answer."""
        self._upstream = upstream
        self._failures = failures
        self._heartbeat_seconds = heartbeat_seconds
        self._stamp = stamp

    async def answer(self, call: Call) -> Answer | web.StreamResponse:
        """Make the call and pass on what the server sends, until it ends or the client goes away.

        Raises:
            RequestFailed: before anything was sent, the server cannot be asked or its first message not be read.
        """
        layout = _layout(call)
        if call.request.method == "HEAD":
            return Answer(200, headers={"Content-Type": layout.content_type})
        method, request = call.endpoint.method.full_name, call.message.SerializeToString()
        async with self._upstream.stream(method, request, call.metadata, call.seconds) as stream:
            records = self._records(call, stream, layout)
            try:
                first = await anext(records, b"")
            except grpc.aio.AioRpcError as error:
                return failed(await self._upstream.failure(error), self._failures, call.request_id)
            stamped = self._stamp(call.request, call.request_id)
            fixed = {"Content-Type": layout.content_type, "Cache-Control": "no-store"}
            response = web.StreamResponse(headers={**fixed, **stamped})
            await response.prepare(call.request)
            await response.write(first)
            async for record in records:
                await response.write(record)
            await response.write_eof()
            return response

    async def _records(self, call: Call, stream: ServerStream, layout: _Layout) -> AsyncIterator[bytes]:
        """What goes to the client, piece by piece; an empty piece has the headers sent.

        Raises what goes wrong before the first piece; afterwards that is the last piece.
        """
        begun = False
        try:
            if not await stream.until_message(self._heartbeat_seconds):
                begun = True
                yield b""
            while (message := await stream.read(self._heartbeat_seconds)) is not NoMessage.MORE:
                piece = layout.heartbeat() if message is NoMessage.YET else _record(call.endpoint, message, layout)
                begun = True
                yield piece
        except grpc.aio.AioRpcError as error:
            if not begun:
                raise
            answer = failed(await self._upstream.failure(error), self._failures, call.request_id)
            yield layout.failure(answer.body)
        except RequestFailed as failure:
            if not begun:
                raise
            yield layout.failure(self._failures.of_request(failure, call.request_id).body)


def check_accepts_stream(accepted: headers.Headers) -> None:
    """Return if ``Accept`` lets one of the two layouts through.

    Raises:
        RequestFailed: 406.
    """
    if not any(headers.quality(accepted, media) > 0 for media in (NDJSON, EVENTS, headers.JSON)):
        raise RequestFailed(406, f"The answer is {NDJSON} or {EVENTS}, which 'Accept' rules out.")


def _layout(call: Call) -> _Layout:
    asked = call.request.headers
    if headers.quality(asked, EVENTS) > max(headers.quality(asked, NDJSON), headers.quality(asked, headers.JSON)):
        return _Events(call.endpoint.method.mapping.event_id_field)
    return _Lines()


def _record(endpoint: Endpoint, serialized: bytes, layout: _Layout) -> bytes:
    try:
        message = endpoint.method.response_class.FromString(serialized)
        return layout.message(dumps(endpoint.write(message)), message)
    except (DecodeError, ValueError) as error:
        raise RequestFailed(502, "The server's answer cannot be read.") from error
