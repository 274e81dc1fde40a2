"""``grpc.reflection``: lists the services, to a limited number of clients at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from backup_sharing.rpc.standard.newer_protos import REFLECTION_V1, NewerProtos
from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.peer import peer_of
from restmap.multiplexing.stream import begin_stream
from restmap.multiplexing.stream_slots import StreamSlots
from restmap.multiplexing.traffic import Context, Traffic

NAMES: Sequence[str] = (reflection.SERVICE_NAME, REFLECTION_V1)
"""Names of the service: v1alpha, and v1 with the same messages."""

_STREAMS_OF_PEER = 4
"""Maximum streams of one peer."""

_STREAMS = 16
"""Maximum streams in total; few suffice, because interactive tools open short streams."""

_SECONDS = 60.0
"""Seconds after which a stream is closed, so that idle clients do not use up the streams."""


def handlers(services: Sequence[str], traffic: Traffic) -> Sequence[grpc.GenericRpcHandler]:
    """Return the handlers of both versions of reflection for these services; ``traffic`` receives their requests."""
    servicer = reflection.aio.ReflectionServicer(services, pool=NewerProtos())
    slots = StreamSlots("streams of reflection", _STREAMS_OF_PEER, _STREAMS)

    async def serve(_: object, context: Context) -> None:
        await begin_stream(context)
        try:
            with slots.taken(peer_of(context)):
                async with asyncio.timeout(_SECONDS):
                    async for answer in servicer.ServerReflectionInfo(_requests(context, traffic), context):
                        await context.write(answer.SerializeToString())
                return
        except ResourceExhausted as exhausted:
            code, why = grpc.StatusCode.RESOURCE_EXHAUSTED, exhausted.message
        except DecodeError:
            code, why = grpc.StatusCode.INVALID_ARGUMENT, "A request is not a serialized ServerReflectionRequest."
        except TimeoutError:
            code, why = grpc.StatusCode.DEADLINE_EXCEEDED, f"The stream was open for {_SECONDS:g} seconds."
        await context.abort(code, why)

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(serve)
    return [grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in NAMES]


async def _requests(context: Context, traffic: Traffic) -> AsyncIterator[ServerReflectionRequest]:
    while (serialized := await traffic.receive_frame(context, _is_never_busy)) is not None:
        yield ServerReflectionRequest.FromString(serialized)


def _is_never_busy() -> bool:
    return False
