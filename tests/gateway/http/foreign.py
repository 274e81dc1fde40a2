"""gRPC server of a foreign service; tests set what its methods do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

_STREAMING = frozenset({"WatchReadings", "WatchNotes"})
_HEALTH = "/grpc.health.v1.Health/"
"""The gateway calls this service to probe for gRPC and to watch health."""

Context = grpc.aio.ServicerContext
Unary = Callable[[Message, Context], Awaitable[bytes]]
Stream = Callable[[Message, Context], AsyncIterator[bytes]]


class Weather:
    """Compiled protos: the descriptor set for a gateway, and messages for a server."""

    def __init__(self, descriptor_set: Path) -> None:
        self.descriptor_set = descriptor_set
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(self.descriptor_set.read_bytes()).file:
            pool.Add(file)
        self._service = pool.FindServiceByName("weather.v1.StationService")
        self._reading = GetMessageClass(pool.FindMessageTypeByName("weather.v1.Reading"))
        self._page = GetMessageClass(pool.FindMessageTypeByName("weather.v1.ListReadingsResponse"))

    def reading(self, note: str = "", sequence: int = 0) -> bytes:
        """Return a serialized reading."""
        return self._reading(note=note, sequence=sequence).SerializeToString()

    def page(self, *, has_more: bool) -> bytes:
        """Return a serialized page with one reading."""
        return self._page(readings=[self._reading(note="one")], has_more=has_more).SerializeToString()

    def request(self, method: str, serialized: bytes) -> Message:
        """Parse a serialized request of this method."""
        return GetMessageClass(self._service.methods_by_name[method].input_type).FromString(serialized)


@dataclass(slots=True)
class Seen:
    """Call as the server received it."""

    method: str
    request: Any
    metadata: list[tuple[str, str | bytes]]
    seconds: float | None
    """Seconds until the deadline. None: the call has no deadline."""

    def values(self, key: str) -> list[str | bytes]:
        """Return all values of a metadata key."""
        return [value for name, value in self.metadata if name == key]


@dataclass
class ForeignServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Server that replies to unary methods with ``unary`` and to streaming methods with ``stream``."""

    weather: Weather
    unary: Unary = field(init=False)
    stream: Stream = field(init=False)
    seen: list[Seen] = field(default_factory=list)
    address: str = ""
    others: list[grpc.GenericRpcHandler] = field(default_factory=list)
    """Additional services; they take precedence."""

    def __post_init__(self) -> None:
        self.unary = answering(b"")
        self.stream = sending()

    async def start(
        self, *options: tuple[str, int], credentials: grpc.ServerCredentials | None = None
    ) -> grpc.aio.Server:
        """Serve on a free port; a restart uses the same port."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *options])
        server.add_generic_rpc_handlers((self,))
        wanted = self.address or "127.0.0.1:0"
        port = server.add_secure_port(wanted, credentials) if credentials else server.add_insecure_port(wanted)
        self.address = f"127.0.0.1:{port}"
        await server.start()
        return server

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = details.method.rpartition("/")[2]
        for other in self.others:
            if handler := other.service(details):
                return handler
        if details.method.startswith(_HEALTH):
            return None
        if method in _STREAMING:
            return grpc.unary_stream_rpc_method_handler(self._handling_stream(method))
        return grpc.unary_unary_rpc_method_handler(self._handling_unary(method))

    def _handling_unary(self, method: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def handle(serialized: bytes, context: Context) -> bytes:
            return await self.unary(self._see(method, serialized, context), context)

        return handle

    def _handling_stream(self, method: str) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
        async def handle(serialized: bytes, context: Context) -> AsyncIterator[bytes]:
            async for message in self.stream(self._see(method, serialized, context), context):
                yield message

        return handle

    def _see(self, method: str, serialized: bytes, context: Context) -> Message:
        request = self.weather.request(method, serialized)
        metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
        self.seen.append(Seen(method, request, metadata, context.time_remaining()))
        return request


def answering(response: bytes) -> Unary:
    """Reply with these bytes."""

    async def answer(_request: Message, _context: Context) -> bytes:
        return response

    return answer


def failing(code: grpc.StatusCode, message: str = "", *details: Message) -> Unary:
    """Fail with this status; ``details`` are sent as a ``google.rpc.Status``."""

    async def fail(_request: Message, context: Context) -> bytes:
        await context.abort(code, message, packed(code, message, details))
        return b""

    return fail


def sending(*messages: bytes, then: Unary | None = None) -> Stream:
    """Send these messages, then end the stream or run ``then``."""

    async def send(request: Message, context: Context) -> AsyncIterator[bytes]:
        for message in messages:
            yield message
        if then is not None:
            await then(request, context)

    return send


def packed(code: grpc.StatusCode, message: str, details: tuple[Message, ...]) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata of a failure with details."""
    if not details:
        return ()
    status = Status(code=code.value[0], message=message)
    for detail in details:
        anything = PackedMessage()
        anything.Pack(detail)
        status.details.append(anything)
    return (("grpc-status-details-bin", status.SerializeToString()),)


def endless(foreign: ForeignServer, *messages: bytes) -> asyncio.Event:
    """Make streams send these messages and then wait; the event is set when a call is cancelled."""
    ended = asyncio.Event()

    async def wait(_request: Message, _context: Context) -> AsyncIterator[bytes]:
        try:
            for message in messages:
                yield message
            await asyncio.Event().wait()
        finally:
            ended.set()

    foreign.stream = wait
    return ended
