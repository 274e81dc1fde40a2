"""gRPC unary methods that call the pipeline."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import grpc

from backup_sharing.errors import Overloaded
from backup_sharing.identity.interface import Peer
from backup_sharing.rpc import status
from backup_sharing.rpc.pipeline import Pipeline, PipelineResult, ServedMethod, UnaryCall
from backup_sharing.rpc.reception import Reception
from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.peer import peer_of
from restmap.multiplexing.traffic import Context, Traffic

UnaryHandler = Callable[[object, Context], Awaitable[bytes]]


def handlers(
    pipeline: Pipeline, methods: Sequence[ServedMethod], traffic: Traffic, peer_of: Callable[[Context], Peer] = peer_of
) -> Sequence[grpc.GenericRpcHandler]:
    """Return one generic handler per service of ``methods``.

    Args:
        pipeline: carries out the calls.
        methods: the methods to serve.
        traffic: receives the requests.
        peer_of: returns the peer of a call.
    """
    services: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {}
    for method in methods:
        _, service, name = method.name.split("/")
        # No (de)serializers: the pipeline parses the bytes, so an unparsable request fails like any other request.
        # On the wire a unary call is a stream of one message. Only stream handlers can receive the request themselves.
        handler: grpc.RpcMethodHandler[bytes, bytes]
        handler = grpc.stream_unary_rpc_method_handler(_handler(pipeline, method.name, traffic, peer_of))
        services.setdefault(service, {})[name] = handler
    return [grpc.method_handlers_generic_handler(service, named) for service, named in services.items()]


def _handler(pipeline: Pipeline, method: str, traffic: Traffic, peer_of: Callable[[Context], Peer]) -> UnaryHandler:
    async def handle(_: object, context: Context) -> bytes:
        try:
            call = await received(method, context, traffic, peer_of)
            if call is None:
                return b""
            peer = call.peer.address
            held = traffic.hold(peer, len(call.request))
        except ResourceExhausted as exhausted:
            return refuse(context, exhausted, method, pipeline.reception)
        try:
            answer = await pipeline.carry_out(call)
        finally:
            traffic.release(peer, held)
        return _answer(context, answer, peer, traffic)

    return handle


async def received(
    method: str, context: Context, traffic: Traffic, peer_of: Callable[[Context], Peer]
) -> UnaryCall | None:
    """Receive the request of a call; None if there is none, which the context then reports.

    Raises:
        ResourceExhausted: the request took too long or exceeds a limit.
    """
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    peer = peer_of(context)
    request = await traffic.receive(context)
    if request is None:
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        context.set_details("The call has no request message.")
        return None
    return UnaryCall(method, request, metadata, deadline, peer)


def end(context: Context, answer: PipelineResult) -> None:
    """Set the status and the trailing metadata of a call."""
    context.set_trailing_metadata(tuple(answer.trailers))
    if answer.status is not None:
        context.set_code(answer.status.code)
        context.set_details(answer.status.message)


def _answer(context: Context, answer: PipelineResult, peer: str, traffic: Traffic) -> bytes:
    """Return the response to gRPC, and count a large one in ``traffic`` until gRPC has sent it."""
    try:
        held = traffic.hold(peer, len(answer.response))
    except ResourceExhausted:
        # The call was carried out, so the status must not imply that nothing was stored.
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details("The answer is lost: too many answers wait to be read.")
        return b""
    if held:
        context.add_done_callback(lambda _: traffic.release(peer, held))  # type: ignore[arg-type] # its annotation is a class
    end(context, answer)
    return answer.response


def refuse(context: Context, exhausted: ResourceExhausted, method: str, reception: Reception) -> bytes:
    """Refuse a call that did not start."""
    refused = status.of_failure(Overloaded(exhausted.message), "")  # no request id: the call did not start
    reception.refused(method, refused)
    context.set_trailing_metadata((("grpc-status-details-bin", refused.details),))
    context.set_code(refused.code)
    context.set_details(refused.message)
    return b""
