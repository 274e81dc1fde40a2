"""A `CallHandler` for the unary methods of any server of ``grpc.aio``."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import grpc

from restmap.multiplexing.call_handler import Trailers, UnaryCall

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """The status of a failed call."""

    code: grpc.StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a call."""

    response: bytes
    status: Failed | None
    trailers: Trailers


class _Details(NamedTuple):
    """The details with which gRPC looks up a method in a generic handler."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Aborted(Exception):
    """A method ended its call with a status."""


class CallContext:
    """The context of a method: the part of `grpc.aio.ServicerContext` that applies to a call in a stream."""

    def __init__(self, call: UnaryCall) -> None:
        self._call = call
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._initial: Trailers = ()
        self._trailers: Trailers = ()

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Return the metadata."""
        return (*self._call.metadata.items(), *self._call.binary_metadata.items())

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None: no deadline."""
        return None if self._call.deadline is None else max(0.0, self._call.deadline - time.monotonic())

    def peer(self) -> str:
        """Return the address of the stream's peer."""
        return self._call.peer.address

    def peer_identities(self) -> Sequence[bytes] | None:
        """Return the names in the peer's certificate; None: no certificate."""
        return [name.encode() for name in self._call.peer.names] or None

    def set_trailing_metadata(self, trailing_metadata: Trailers) -> None:
        """Set the trailing metadata of the answer."""
        self._trailers = tuple(trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code that the call has when the method returns."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the message of the status."""
        self._details = details

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()) -> NoReturn:
        """End the call now, with this status."""
        self._code, self._details = code, details
        self._trailers = tuple(trailing_metadata) or self._trailers
        raise _Aborted

    async def send_initial_metadata(self, initial_metadata: Trailers) -> None:
        """Set the initial metadata of the answer; a call in a stream sends them together with the trailing ones."""
        self._initial = tuple(initial_metadata)

    def ended(self, response: bytes) -> Ended:
        """Return the result of the call: this response, or the status that was set."""
        metadata = (*self._initial, *self._trailers)
        if self._code is grpc.StatusCode.OK:
            return Ended(response, None, metadata)
        return Ended(b"", Failed(self._code, self._details), metadata)


class Handlers:
    """The `CallHandler` of a `Multiplexer`. Generated code adds services to it, as to a server."""

    def __init__(self) -> None:
        self._added: list[grpc.GenericRpcHandler] = []
        self._unary: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Serve the unary methods of these handlers."""
        self._added += generic_rpc_handlers

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Do nothing: generated code also adds the same methods as generic handlers."""

    def serves(self, method: str) -> bool:
        """Return whether a unary coroutine has this method name."""
        if method in self._unary:
            return True
        found = next((one for added in self._added if (one := added.service(_Details(method)))), None)  # type: ignore[arg-type]
        if found is None or not inspect.iscoroutinefunction(found.unary_unary):
            return False
        self._unary[method] = found
        return True

    async def carry_out(self, call: UnaryCall) -> Ended:
        """Carry out a call of a served method."""
        handler, context = self._unary[call.method], CallContext(call)
        method: Callable[[Any, CallContext], Awaitable[Any]] = handler.unary_unary  # type: ignore[assignment]
        limit = asyncio.timeout(context.time_remaining())
        try:
            async with limit:
                request = handler.request_deserializer(call.request) if handler.request_deserializer else call.request
                response = await method(request, context)
            return context.ended(handler.response_serializer(response) if handler.response_serializer else response)
        except _Aborted:
            return context.ended(b"")
        except Exception:  # noqa: BLE001 - the caller must not see the details of any exception
            if limit.expired():
                return Ended(b"", Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), ())
            _log.exception("a method failed")
            return Ended(b"", Failed(grpc.StatusCode.UNKNOWN, "The method failed."), ())
