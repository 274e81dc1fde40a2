"""Server-streaming calls: received like unary calls, then open until the client, the server or a lost right ends them.

request id → log → errors → identity → permission → open → messages
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from backup_sharing.errors import Failure, InvalidArgument, Unavailable, Violation
from backup_sharing.identity.interface import Peer
from backup_sharing.model import Principal
from backup_sharing.rpc import unary
from backup_sharing.rpc.reception import Known, PipelineResult, Reception, UnaryCall, parsed
from backup_sharing.rpc.watching.ending import Ending
from backup_sharing.rpc.watching.rechecks import Rechecks
from backup_sharing.rpc.watching.slots import WatchSlots
from backup_sharing.usecases import policy
from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.peer import peer_of
from restmap.multiplexing.stream import begin_stream
from restmap.multiplexing.traffic import Context, Traffic

_MOST_REQUEST_BYTES: Final = 16 * 1024
"""Maximum bytes of a request, which is kept as long as its call."""

Send = Callable[[bytes], Awaitable[None]]
"""Sends a message; returns when the client has room for the next one."""


class Source(Protocol):
    """The messages of one stream."""

    async def read(self) -> Sequence[bytes]:
        """Wait for the next messages and return them."""
        ...

    def close(self) -> None:
        """Free what the source holds."""
        ...


@dataclass(frozen=True, slots=True)
class StreamMethod:
    """One server-streaming method of a service."""

    name: str
    """``/package.Service/Method``."""
    request: type[Message]
    project_id: Callable[[Any], str]
    """Returns the project that a request concerns."""
    open: Callable[[Principal, Any], Awaitable[Source]]
    """Checks the request, and opens the source of the messages."""
    confirm: Callable[[Principal, Principal], None]
    """Raises a failure if the caller, identified again, may not see everything that it could see at the beginning.

    The arguments are the caller at the beginning and now."""


class Streams:
    """Carries out server-streaming calls."""

    def __init__(self, reception: Reception, slots: WatchSlots, rechecks: Rechecks) -> None:
        """Receive calls by ``reception``, limit their number by ``slots``, and check their callers by ``rechecks``."""
        self.reception = reception
        """Receives the calls."""
        self._slots = slots
        self._rechecks = rechecks
        self._open: dict[Ending, asyncio.Task[Any] | None] = {}
        self._is_draining = False

    @property
    def number(self) -> int:
        """Number of open streams."""
        return len(self._open)

    def drain(self) -> None:
        """End all streams, and refuse new ones, so that clients continue at another server."""
        self._is_draining = True
        for ending in list(self._open):
            ending.end(_draining())

    async def closed(self) -> None:
        """Wait until no stream is left."""
        while tasks := [task for task in self._open.values() if task is not None]:
            await asyncio.wait(tasks)

    async def carry_out(
        self, method: StreamMethod, call: UnaryCall, begin: Callable[[], Awaitable[None]], send: Send
    ) -> PipelineResult:
        """Carry out a call, and log its begin and its end. Raises nothing except cancellation.

        Args:
            method: the method.
            call: the call.
            begin: called before the first message, once the call is accepted.
            send: sends a message.
        """
        work = partial(self._stream, method, begin, send)
        return await self.reception.carry_out(call, None, work, may_be_slow=True)

    async def _stream(
        self, method: StreamMethod, begin: Callable[[], Awaitable[None]], send: Send, known: Known
    ) -> bytes:
        if self._is_draining:
            raise _draining()
        principal, request = await self._accepted(method, known)
        known.request = None  # not kept for hours
        ending = Ending()
        confirm = partial(self._confirm, method, principal, method.project_id(request))
        self._open[ending] = asyncio.current_task()
        try:
            with (
                self._slots.taken(principal.project_id),
                self._rechecks.of(known.credentials, principal, confirm, ending),
            ):
                source = await method.open(principal, request)
                try:
                    await begin()
                    self.reception.log_begin(known)
                    while True:
                        for message in await source.read():
                            await send(message)
                finally:
                    source.close()
        except asyncio.CancelledError:
            if failure := ending.failure():
                raise failure from None
            raise
        finally:
            del self._open[ending]

    async def _accepted(self, method: StreamMethod, known: Known) -> tuple[Principal, Message]:
        """Return the caller, who may make the call, and the request."""
        limiter = self.reception.limiter
        limiter.enter()
        try:
            principal = await self.reception.principal(known)
            # Counts the call in the project's rate; open streams have limits of their own.
            limiter.enter_project(principal.project_id)
            limiter.leave_project(principal.project_id)
            if len(known.call.request) > _MOST_REQUEST_BYTES:
                text = f"The request has {len(known.call.request)} bytes; at most {_MOST_REQUEST_BYTES} are expected."
                raise InvalidArgument([Violation("", text)])
            request = parsed(method.request, known.call.request)
            policy.authorize(principal, policy.METHODS[method.name], method.project_id(request))
            return principal, request
        finally:
            limiter.leave()

    def _confirm(self, method: StreamMethod, before: Principal, project_id: str, now: Principal) -> None:
        policy.authorize(now, policy.METHODS[method.name], project_id)
        method.confirm(before, now)


def _draining() -> Failure:
    return Unavailable("The server is stopping; continue at another server with the last cursor.")


def handlers(
    streams: Streams, methods: Sequence[StreamMethod], traffic: Traffic, peer_of: Callable[[Context], Peer] = peer_of
) -> Sequence[grpc.GenericRpcHandler]:
    """Return one generic handler for each method; see `unary.handlers` for the arguments."""
    found = []
    for method in methods:
        _, service, name = method.name.split("/")
        # Only stream handlers can receive the request themselves, as in `unary.handlers`.
        handle: grpc.RpcMethodHandler[bytes, bytes]
        handle = grpc.stream_stream_rpc_method_handler(_handler(streams, method, traffic, peer_of))
        found.append(grpc.method_handlers_generic_handler(service, {name: handle}))
    return found


def _handler(
    streams: Streams, method: StreamMethod, traffic: Traffic, peer_of: Callable[[Context], Peer]
) -> Callable[[object, Context], Awaitable[None]]:
    async def handle(_: object, context: Context) -> None:
        async def send(message: bytes) -> None:
            try:
                await context.write(message)
            except (grpc.aio.InternalError, grpc.aio.UsageError):
                raise asyncio.CancelledError from None  # the client has disconnected; gRPC would report a defect

        try:
            call = await unary.received(method.name, context, traffic, peer_of)
        except ResourceExhausted as exhausted:
            unary.refuse(context, exhausted, method.name, streams.reception)
            return
        if call is not None:
            unary.end(context, await streams.carry_out(method, call, partial(begin_stream, context), send))

    return handle
