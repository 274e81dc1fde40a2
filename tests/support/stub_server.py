"""A gRPC server that answers every call with what a test told it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from tests.support.programs import PATIENCE

Context = grpc.ServicerContext
Behaviour = Callable[[Context], bytes]
DETAILS = "grpc-status-details-bin"
PROBED = "/grpc.health.v1.Health/Check"
"""Called by a gateway that wonders whether this is gRPC at all."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A call as it reached the server."""

    method: str
    request: bytes
    metadata: dict[str, str | bytes]
    seconds: float | None
    """Until the deadline; None: there is none."""


class StubServer(grpc.GenericRpcHandler):  # type: ignore[misc] # the library has no types
    """Knows every method, unless told to lack them."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._behaviour: Behaviour | None = None
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
        """Be as new: answer every call with an empty message."""
        self.seen.clear()
        self._held.clear()
        self._waiting.clear()
        self.answers(b"")

    def answers(self, response: bytes) -> None:
        """Succeed with these bytes."""
        self._behaviour = lambda _: response

    @property
    def behaviour(self) -> Behaviour:
        """How it answers now."""
        assert self._behaviour is not None
        return self._behaviour

    def behaves(self, behaviour: Behaviour) -> None:
        """Answer each call as this function does."""
        self._behaviour = behaviour

    def fails_first(self, times: int, code: grpc.StatusCode, *details: Message, then: bytes = b"") -> None:
        """Fail so many times, then succeed with these bytes."""
        self.fails(code, "not yet", *details)
        failing, left = self.behaviour, iter(range(times))
        self._behaviour = lambda context: then if next(left, None) is None else failing(context)

    def fails(self, code: grpc.StatusCode, message: str = "", *details: Message, **trailers: str) -> None:
        """Fail; details make it a ``google.rpc.Status``."""
        metadata: list[tuple[str, str | bytes]] = [(name.replace("_", "-"), text) for name, text in trailers.items()]
        if details:
            packed = Status(code=code.value[0], message=message, details=_packed(details))
            metadata.append((DETAILS, packed.SerializeToString()))
        self._behaviour = _failing(code, message, metadata)

    def fails_with_trailer(self, code: grpc.StatusCode, message: str, trailer: bytes) -> None:
        """Fail, with these bytes where a ``google.rpc.Status`` is expected."""
        self._behaviour = _failing(code, message, [(DETAILS, trailer)])

    def lacks_everything(self) -> None:
        """Have no method at all."""
        self._behaviour = None

    def holds(self, response: bytes) -> None:
        """Answer with these bytes, but only when released or when the caller has gone."""

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
        """What gRPC asks for each call: who handles it."""
        if self._behaviour is None:
            return None

        def handle(request: bytes, context: Context) -> bytes:
            if details.method != PROBED:
                metadata = dict(context.invocation_metadata())
                self.seen.append(Seen(details.method, request, metadata, context.time_remaining()))
            assert self._behaviour is not None
            return self._behaviour(context)

        return grpc.unary_unary_rpc_method_handler(handle)


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
