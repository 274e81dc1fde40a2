"""gRPC server with replies that a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from tests.support.programs import PATIENCE

Context = grpc.ServicerContext
Behaviour = Callable[[Context], bytes]
Streaming = Callable[[bytes, Context], Iterator[bytes]]
WATCH = "/backupsharing.v2.BackupAccessService/WatchSharings"
"""The only method with a stream of responses."""
DETAILS = "grpc-status-details-bin"
PROBED = "/grpc.health.v1.Health/Check"
"""The gateway calls this method to probe for gRPC."""
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
"""The gateway watches this; a server that lacks it counts as healthy while it is connected."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Call as the server received it."""

    method: str
    request: bytes
    metadata: dict[str, str | bytes]
    seconds: float | None
    """Seconds until the deadline. None: the call has no deadline."""


class StubServer(grpc.GenericRpcHandler):  # type: ignore[misc] # the library has no types
    """Server with every method, or with none after ``lacks_everything``."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._behaviour: Behaviour | None = None
        self._streaming: Streaming | None = None
        self._held = threading.Event()
        self._waiting: list[threading.Event] = []
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self.release()
        self._server.stop(grace=None).wait(PATIENCE)

    def forget(self) -> None:
        """Reset: reply to every call with an empty message."""
        self.seen.clear()
        self._held.clear()
        self._waiting.clear()
        self._streaming = None
        self.answers(b"")

    def answers(self, response: bytes) -> None:
        """Succeed with these bytes."""
        self._behaviour = lambda _: response

    @property
    def behaviour(self) -> Behaviour:
        """The current behaviour."""
        assert self._behaviour is not None
        return self._behaviour

    def behaves(self, behaviour: Behaviour) -> None:
        """Run this function for each call."""
        self._behaviour = behaviour

    def streams(self, streaming: Streaming) -> None:
        """Run this generator for each watch; it gets the request."""
        self._streaming = streaming

    def fails_first(self, times: int, code: grpc.StatusCode, *details: Message, then: bytes = b"") -> None:
        """Fail ``times`` calls, then succeed with these bytes."""
        self.fails(code, "not yet", *details)
        failing, left = self.behaviour, iter(range(times))
        self._behaviour = lambda context: then if next(left, None) is None else failing(context)

    def fails(self, code: grpc.StatusCode, message: str = "", *details: Message, **trailers: str) -> None:
        """Fail; ``details`` are sent as a ``google.rpc.Status``."""
        metadata: list[tuple[str, str | bytes]] = [(name.replace("_", "-"), text) for name, text in trailers.items()]
        if details:
            packed = Status(code=code.value[0], message=message, details=_packed(details))
            metadata.append((DETAILS, packed.SerializeToString()))
        self._behaviour = _failing(code, message, metadata)

    def fails_with_trailer(self, code: grpc.StatusCode, message: str, trailer: bytes) -> None:
        """Fail, with these bytes in the trailer of the ``google.rpc.Status``."""
        self._behaviour = _failing(code, message, [(DETAILS, trailer)])

    def lacks_everything(self) -> None:
        """Reply UNIMPLEMENTED to every call."""
        self._behaviour = None

    def holds(self, response: bytes) -> None:
        """Succeed with these bytes, but only on release or after the caller has cancelled."""

        def hold(context: Context) -> bytes:
            released = threading.Event()
            self._waiting.append(released)
            context.add_callback(released.set)
            self._held.set()
            released.wait(PATIENCE)
            return response

        self._behaviour = hold

    def wait_until_held(self) -> None:
        assert self._held.wait(PATIENCE), "no call came"

    def release(self) -> None:
        for released in self._waiting:
            released.set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if self._behaviour is None or details.method == HEALTH_WATCH:
            return None

        def handle(request: bytes, context: Context) -> bytes:
            if details.method != PROBED:
                self._note(details, request, context)
            assert self._behaviour is not None
            return self._behaviour(context)

        def stream(request: bytes, context: Context) -> Iterator[bytes]:
            self._note(details, request, context)
            assert self._streaming is not None
            yield from self._streaming(request, context)

        if details.method == WATCH and self._streaming is not None:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(handle)

    def _note(self, details: grpc.HandlerCallDetails, request: bytes, context: Context) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.append(Seen(details.method, request, metadata, context.time_remaining()))


def _failing(code: grpc.StatusCode, message: str, metadata: Sequence[tuple[str, str | bytes]]) -> Behaviour:
    def fail(context: Context) -> bytes:
        context.set_trailing_metadata(tuple(metadata))
        context.set_code(code)
        context.set_details(message)
        return b""

    return fail


def _packed(details: Sequence[Message]) -> list[PackedMessage]:
    packed = []
    for detail in details:
        packed.append(PackedMessage())
        packed[-1].Pack(detail)
    return packed
