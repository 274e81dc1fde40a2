"""``grpc.health.v1``: checks the store at most once per second, for all clients together; needs no token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backup_sharing.errors import Failure
from backup_sharing.rpc.standard.newer_protos import NewerProtos
from backup_sharing.store.interface import Store
from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.peer import peer_of
from restmap.multiplexing.stream_slots import StreamSlots
from restmap.multiplexing.traffic import Context, Traffic

NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

LOOK_SECONDS = 1.0
"""Seconds for which the last result is reused for all clients."""

WATCH_SECONDS = 2.0
"""Interval between two checks of a watched status, in seconds."""

_WATCH_MEMORY_SECONDS = 60.0
"""Seconds after a ``Check`` during which its client counts as watching."""

_WATCHES_OF_PEER = 32
"""Maximum watches of one peer. A gateway has one, or two for a moment; several gateways may share an address."""

_WATCHES = 256
"""Maximum watches in total."""

_SHOWN = 100
"""Maximum characters of a service's name in a message."""


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the library has no types
    """Healthy while the store can be used and the server is not draining."""

    def __init__(self, store: Store, services: Collection[str]) -> None:
        """Report the status of ``services`` and of the whole server, which has the empty name."""
        self._store = store
        self._services = ("", *services)
        self._newer = NewerProtos()
        self._draining = asyncio.Event()
        self._watches = 0
        self._watched_until = 0.0
        self._look: asyncio.Task[str | None] | None = None
        self._look_again = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether a client watches the status, or has called ``Check`` in the last 60 seconds."""
        return self._watches > 0 or time.monotonic() < self._watched_until

    def drain(self) -> None:
        """Report NOT_SERVING from now on, so that clients send calls elsewhere."""
        self._draining.set()

    async def Check(  # noqa: N802 - the name of the gRPC method
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> health_pb2.HealthCheckResponse:
        """Return the status, which is at most a second old."""
        self._watched_until = time.monotonic() + _WATCH_MEMORY_SECONDS
        if request.service not in self._services:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"There is no service {request.service[:_SHOWN]!r} here.")
            return health_pb2.HealthCheckResponse()
        return health_pb2.HealthCheckResponse(status=await self._status())

    async def Watch(  # noqa: N802 - the name of the gRPC method
        self, request: health_pb2.HealthCheckRequest, _: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the status now and after each change; end when the server drains, so as not to delay the drain."""
        last = None
        self._watches += 1
        try:
            while True:
                last_look = self._draining.is_set()
                known = request.service in self._services
                status = await self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                if status != last:
                    yield health_pb2.HealthCheckResponse(status=status)
                    last = status
                if last_look:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._draining.wait(), WATCH_SECONDS)
        finally:
            self._watches -= 1

    async def list_all(self) -> bytes:
        """Return the serialized status of each service: the method ``List``, which the library does not have yet."""
        self._watched_until = time.monotonic() + _WATCH_MEMORY_SECONDS
        status = await self._status()
        return self._newer.listed(dict.fromkeys(self._services, status))

    async def store_problem(self) -> str | None:
        """Return why the store cannot be used, by a ping that is at most a second old; None: it can be used."""
        if self._look is None or (self._look.done() and time.monotonic() >= self._look_again):
            self._look = asyncio.create_task(self._pinged())
        # The cancellation of one call must not cancel the check for the other calls.
        return await asyncio.shield(self._look)

    async def _status(self) -> int:
        if self._draining.is_set() or await self.store_problem() is not None:
            return int(health_pb2.HealthCheckResponse.NOT_SERVING)
        return int(health_pb2.HealthCheckResponse.SERVING)

    async def _pinged(self) -> str | None:
        try:
            await self._store.ping()
        except Failure as failure:
            return failure.message
        else:
            return None
        finally:
            self._look_again = time.monotonic() + LOOK_SECONDS


def handler(health: Health, traffic: Traffic) -> grpc.GenericRpcHandler:
    """Return the handler of the health service; ``traffic`` receives its requests."""
    slots = StreamSlots("watches", _WATCHES_OF_PEER, _WATCHES)

    async def check(_: object, context: Context) -> bytes:
        answer = await health.Check(await _request(context, traffic), context)
        return bytes(answer.SerializeToString())

    async def list_all(_: object, context: Context) -> bytes:
        await _request(context, traffic)  # its type has no fields; those of others are ignored
        return await health.list_all()

    async def watch(_: object, context: Context) -> None:
        request = await _request(context, traffic)
        try:
            with slots.taken(peer_of(context)):
                async for answer in health.Watch(request, context):
                    await context.write(answer.SerializeToString())
        except ResourceExhausted as exhausted:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, exhausted.message)

    # On the wire a unary call is a stream of one message. Only stream handlers can receive the request themselves.
    checks: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(check)
    lists: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(list_all)
    watches: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(watch)
    return grpc.method_handlers_generic_handler(NAME, {"Check": checks, "List": lists, "Watch": watches})


async def _request(context: Context, traffic: Traffic) -> health_pb2.HealthCheckRequest:
    try:
        serialized = await traffic.receive(context)
        if serialized is not None:
            return health_pb2.HealthCheckRequest.FromString(serialized)
        code, why = grpc.StatusCode.INVALID_ARGUMENT, "The call has no request message."
    except ResourceExhausted as exhausted:
        code, why = grpc.StatusCode.RESOURCE_EXHAUSTED, exhausted.message
    except DecodeError:
        code, why = grpc.StatusCode.INVALID_ARGUMENT, "The request is not a serialized HealthCheckRequest."
    await context.abort(code, why)
    raise AssertionError  # `abort` does not return
