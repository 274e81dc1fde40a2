"""The unary methods of any server of ``grpc.aio``, so that they are carried out inside streams as well."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import grpc

from restmap.multiplexing.carrier import Call, Trailers

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failed:
    """How a call failed."""

    code: grpc.StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended."""

    response: bytes
    status: Failed | None
    trailers: Trailers


class _Details(NamedTuple):
    """What gRPC asks a generic handler with."""

    method: str
    invocation_metadata: tuple[()] = ()


class _Aborted(Exception):
    """A method ended its call with a status."""


class CallContext:
    """What a method gets as its context: of `grpc.aio.ServicerContext` all that makes sense for a call in a stream."""

    def __init__(self, call: Call) -> None:
        """Of a call, which is still to succeed."""
        self._call = call
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._trailers: Trailers = ()

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """The metadata that have texts as their values."""
        return tuple(self._call.metadata.items())

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self._call.deadline is None else max(0.0, self._call.deadline - time.monotonic())

    def peer(self) -> str:
        """The address of the other end of the stream."""
        return self._call.peer.address

    def peer_identities(self) -> Sequence[bytes] | None:
        """The names in its certificate; None without one."""
        return [name.encode() for name in self._call.peer.names] or None

    def set_trailing_metadata(self, trailing_metadata: Trailers) -> None:
        """Send these with the answer."""
        self._trailers = tuple(trailing_metadata)

    def set_code(self, code: grpc.StatusCode) -> None:
        """End the call with this code, when the method returns."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The message of that status."""
        self._details = details

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Trailers = ()) -> NoReturn:
        """End the call now."""
        self._code, self._details = code, details
        self._trailers = tuple(trailing_metadata) or self._trailers
        raise _Aborted

    async def send_initial_metadata(self, initial_metadata: Trailers) -> None:
        """Do nothing: a call in a stream has none."""

    def ended(self, response: bytes) -> Ended:
        """How the call ended if nothing more happens."""
        if self._code is grpc.StatusCode.OK:
            return Ended(response, None, self._trailers)
        return Ended(b"", Failed(self._code, self._details), self._trailers)


class Handlers:
    """What a `Multiplexer` carries calls out with. Services are added to it as to a server, by generated code."""

    def __init__(self) -> None:
        """Begin without any."""
        self._added: list[grpc.GenericRpcHandler] = []
        self._unary: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Serve the unary methods of these."""
        self._added += generic_rpc_handlers

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Do nothing: generated code adds the same methods as generic handlers, too."""

    def serves(self, method: str) -> bool:
        """Whether there is a unary coroutine of this name."""
        if method in self._unary:
            return True
        found = next((one for added in self._added if (one := added.service(_Details(method)))), None)  # type: ignore[arg-type]
        if found is None or not inspect.iscoroutinefunction(found.unary_unary):
            return False
        self._unary[method] = found
        return True

    async def carry_out(self, call: Call) -> Ended:
        """Answer a call of a method that is served."""
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
        except Exception:  # noqa: BLE001 - whatever a method raises, its caller learns no more
            if limit.expired():
                return Ended(b"", Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), ())
            _log.exception("a method failed")
            return Ended(b"", Failed(grpc.StatusCode.UNKNOWN, "The method failed."), ())
