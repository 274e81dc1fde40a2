"""One server: its channel, the deadlines of calls, and the meaning of failed calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from restmap_gateway.errors import RequestFailed
from restmap_gateway.upstream.counts import UpstreamCounts
from restmap_gateway.upstream.multiplex import Multiplexing, SerializedCall, StreamBroken
from restmap_gateway.upstream.probe import Probe
from restmap_gateway.upstream.reply import Metadata, Reply
from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.server_stream import ServerStream
from restmap_gateway.upstream.stream_channels import StreamChannels
from restmap_gateway.upstream.tls import UpstreamTls

_CHANNEL_OPTIONS = (
    # No limit: the server is trusted, and its own limits bound its responses.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # Reconnect soon after a restart of the server: the next server may be restarted as soon as this one serves.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Maximum time to connect; a shorter one would give up on a server that is busy or far away.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 500),
)

_MAYBE_NOT_GRPC = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED})

_REJECTED_EARLY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
"""Codes with which a server rejects a call before it checks for an earlier attempt of the same call."""

_TOO_LARGE = re.compile(r"(CLIENT|SERVER): (Received|Sent) message larger than max")
"""Start of gRPC's own error text for a message above a size limit of either side."""

_REQUEST_TOO_LARGE = ("SERVER: Received message larger than max", "CLIENT: Sent message larger than max")

_MOST_SECONDS = 99_999_999
"""Maximum seconds of a deadline: the wire format has eight digits."""

AGAIN_SECONDS = 0.2
"""Seconds before a retry: gRPC waits half as long before it reconnects."""

RETIRE_SECONDS = 600.0
"""Maximum seconds that calls may continue on a replaced channel; event streams resume on another one."""


class Backend(Protocol):
    """Makes calls to one server or to one of several."""

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float, *, repeatable: bool) -> Reply:
        """Make a unary call; see `Upstream.call`."""
        ...

    def stream(
        self, method: str, request: bytes, metadata: Metadata, seconds: float | None
    ) -> AbstractAsyncContextManager[ServerStream]:
        """Make a server-streaming call; see `Upstream.stream`."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Connection settings for servers."""

    margin: float
    """Seconds to wait after a call's deadline for a last-moment reply; a server still silent after them is gone."""
    multiplex: bool
    """Whether waiting calls are sent over one stream."""
    tls: UpstreamTls | None = None
    """TLS settings; None: plain text."""
    options: Sequence[tuple[str, int]] = ()
    """Additional channel options."""
    initial_metadata: bool = False
    """Whether the reply to a successful call has the initial metadata too; those of a failed call are always there."""
    counts: UpstreamCounts = field(default_factory=UpstreamCounts)
    """Counters of everything that is sent over these connections."""


class Upstream:
    """Calls methods of one server."""

    def __init__(self, address: ServerAddress, settings: ConnectionSettings) -> None:
        """Open a channel; the first call connects it."""
        self._address = address
        self._settings = settings
        self._probe = Probe(address, settings.tls)
        self._retiring: set[asyncio.Task[None]] = set()
        self._connect()

    def _connect(self) -> None:
        self._channel = self._new_channel()
        own = (("grpc.use_local_subchannel_pool", 1),)  # channels of the same pool share a connection
        self._streaming = StreamChannels(self._channel, lambda: self._new_channel(own))
        self._multiplexing = Multiplexing(self._channel, self._settings.counts) if self._settings.multiplex else None
        self._multicallables: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    def _new_channel(self, more: Sequence[tuple[str, int]] = ()) -> grpc.aio.Channel:
        target, tls, found_as = self._address.target, self._settings.tls, self._address.found_as
        options: list[tuple[str, str | int]] = [*_CHANNEL_OPTIONS, *self._settings.options, *more]
        if tls is None:
            if found_as:
                options.append(("grpc.default_authority", found_as))
            return grpc.aio.insecure_channel(target, options=options)
        if name := tls.name or (found_as and self._address.host):
            options.append(("grpc.ssl_target_name_override", name))
        return grpc.aio.secure_channel(target, tls.credentials, options=options)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel for new calls."""
        return self._channel

    @property
    def is_connected(self) -> bool:
        """Return whether the channel is connected, as far as known."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    def reconnect(self) -> None:
        """Make all further calls over a new channel; calls in progress end on the old one."""
        retired = asyncio.create_task(_retire(self._channel, self._multiplexing, self._streaming))
        self._retiring.add(retired)
        retired.add_done_callback(self._retiring.discard)
        self._connect()

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float, *, repeatable: bool) -> Reply:
        """Make a unary call.

        Args:
            method: ``/package.Service/Method``.
            request: the serialized request.
            metadata: metadata of the call.
            seconds: time until the deadline that is sent to the server.
            repeatable: whether the call may be retried when it is unknown if it was carried out.

        Raises:
            RequestFailed: 502 for a server that does not speak gRPC; 400 or 500 for a request or a response that is too
                large for gRPC.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        unary = SerializedCall(method, request, metadata, deadline, deadline + self._settings.margin)
        broken: Reply | None = None
        try:
            try:
                reply = await self.multiplexed(unary)
            except StreamBroken as error:
                broken = lost(error)
                reply = None if repeatable else broken
                self._settings.counts.retries += repeatable
            if reply is None:
                reply = await self.single(unary)
                if repeatable and is_broken(reply):
                    # The connection failed, not the server; gRPC may have reconnected by now.
                    broken = reply
                    self._settings.counts.retries += 1
                    await asyncio.sleep(AGAIN_SECONDS)
                    reply = await self.single(unary)
            return reply if broken is None else of_both(broken, reply)
        except TimeoutError:
            return no_answer()

    async def multiplexed(self, unary: SerializedCall) -> Reply | None:
        """Make a call over the stream; return None if it must be made outside the stream.

        Raises:
            StreamBroken: the stream ended before the reply.
            TimeoutError: there is no reply at the time to give up.
        """
        return None if self._multiplexing is None else await self._multiplexing.call(unary)

    async def single(self, unary: SerializedCall) -> Reply:
        """Make a call outside the stream and return its reply.

        Raises:
            TimeoutError: there is no reply at the time to give up.
            RequestFailed: as in `call`.
        """
        self._settings.counts.singles += 1
        multicallable = self._multicallables.get(unary.method)
        if multicallable is None:
            multicallable = self._multicallables[unary.method] = self._channel.unary_unary(unary.method)
        # Send the deadline as metadata instead of the call's timeout argument: with the argument, gRPC would also give
        # up here at the deadline, and a reply on its way would be lost.
        timeout = _timeout_text(unary.deadline - asyncio.get_running_loop().time())
        async with asyncio.timeout_at(unary.give_up):
            try:
                call = multicallable(unary.request, metadata=(*unary.metadata, ("grpc-timeout", timeout)))
                response = await call
                initial = await call.initial_metadata() if self._settings.initial_metadata else ()
                return Reply(grpc.StatusCode.OK, "", response, (*initial, *await call.trailing_metadata()))
            except grpc.aio.AioRpcError as error:
                return await self.failure(error)

    @asynccontextmanager
    async def stream(
        self, method: str, request: bytes, metadata: Metadata, seconds: float | None
    ) -> AsyncIterator[ServerStream]:
        """Make a server-streaming call; it is cancelled when the context exits.

        Args:
            method: ``/package.Service/Method``.
            request: the serialized request.
            metadata: metadata of the call.
            seconds: time until its deadline; None: no deadline.
        """
        async with self._streaming.one() as channel:
            multicallable: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
            # gRPC would treat a deadline that is centuries away as expired.
            timeout = None if seconds is None else min(seconds, _MOST_SECONDS)
            stream = ServerStream(multicallable(request, metadata=tuple(metadata), timeout=timeout), self.failure)
            try:
                yield stream
            finally:
                stream.cancel()

    async def failure(self, error: grpc.aio.AioRpcError) -> Reply:
        """Return the reply of a failed call.

        Raises:
            RequestFailed: 502 if the upstream does not speak gRPC; 400 or 500 if a request or a response is too large
                for gRPC.
        """
        sent = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
        reply = Reply(error.code(), error.details() or "", b"", sent)
        if reply.details is not None:
            return reply
        if reply.code in _MAYBE_NOT_GRPC and await self._probe.speaks_something_else():
            raise RequestFailed(502, "The server behind this gateway does not speak gRPC.")
        if reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED and (too_large := _TOO_LARGE.match(reply.message)):
            if too_large[0] in _REQUEST_TOO_LARGE:
                raise RequestFailed(400, "The request is larger than the server takes.")
            raise RequestFailed(500, "The server's answer is too large.")
        return reply

    async def close(self) -> None:
        """Close the channel and cancel the calls in progress."""
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._multiplexing is not None:
            self._multiplexing.close()
        await self._streaming.close()
        await self._channel.close()


async def _retire(channel: grpc.aio.Channel, multiplexing: Multiplexing | None, streaming: StreamChannels) -> None:
    try:
        await asyncio.sleep(RETIRE_SECONDS)
    finally:
        if multiplexing is not None:
            multiplexing.close()
        await streaming.close()
        await channel.close()


def is_broken(reply: Reply) -> bool:
    """Return whether the connection or the server failed: it is unknown whether the call was carried out."""
    return reply.code is grpc.StatusCode.UNAVAILABLE and reply.details is None


def of_both(broken: Reply, again: Reply) -> Reply:
    """Return the reply to a call whose first attempt broke and that was retried.

    A retry that did nothing must not hide a first attempt that may have been carried out.
    """
    return broken if again.code in _REJECTED_EARLY else again


def lost(broken: StreamBroken) -> Reply:
    """Return the reply to a call whose stream ended before the reply."""
    return Reply(grpc.StatusCode.UNAVAILABLE, str(broken), b"", ())


def no_answer() -> Reply:
    """Return the reply to a call without a reply by its deadline and the margin after it.

    A live server ends a call at its deadline itself, so this server or the connection to it has failed.
    DEADLINE_EXCEEDED would mean that the server replied.
    """
    return Reply(grpc.StatusCode.UNAVAILABLE, "The server did not answer.", b"", ())


def _timeout_text(seconds: float) -> str:
    milliseconds = max(round(seconds * 1000), 1)
    return f"{milliseconds}m" if milliseconds < 100_000_000 else f"{min(round(seconds), _MOST_SECONDS)}S"
