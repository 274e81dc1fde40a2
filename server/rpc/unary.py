"""The pipeline as native gRPC unary methods."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import grpc

from server.rpc.peers import peer_of
from server.rpc.pipeline import Call, Method, Pipeline

UnaryHandler = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


def handlers(pipeline: Pipeline, methods: Sequence[Method]) -> Sequence[grpc.GenericRpcHandler]:
    """Make one generic handler for each service of ``methods``."""
    services: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {}
    for method in methods:
        _, service, name = method.name.split("/")
        # No (de)serializers: the pipeline takes bytes, so that a request that is no message fails like any other.
        services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(_handler(pipeline, method.name))
    return [grpc.method_handlers_generic_handler(service, named) for service, named in services.items()]


def _handler(pipeline: Pipeline, method: str) -> UnaryHandler:
    async def handle(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        remaining = context.time_remaining()
        metadata = context.invocation_metadata() or ()
        call = Call(
            method=method,
            request=request,
            metadata={key: value for key, value in metadata if isinstance(value, str)},
            deadline=None if remaining is None else time.monotonic() + remaining,
            peer=peer_of(context),
        )
        answer = await pipeline.carry_out(call)
        context.set_trailing_metadata(tuple(answer.trailers))
        if answer.status is not None:
            context.set_code(answer.status.code)
            context.set_details(answer.status.message)
        return answer.response

    return handle
