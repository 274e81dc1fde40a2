"""The server behind: one channel, deadlines, and what a failure to reach it means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import grpc

from gateway.errors import RequestFailed
from gateway.multiplex import Multiplexing, StreamBroken, Unary
from gateway.probe import Probe
from gateway.reply import Metadata, Reply
from gateway.tls import UpstreamTls

_CHANNEL_OPTIONS = (
    # The server is ours to trust, and its answers are bounded by what it serves.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # Back within two seconds after a restart of the server.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The time that opening a connection may take; less would give up on a server that is busy or far away.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

_MAYBE_NOT_GRPC = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED})

_TOO_LARGE = re.compile(r"(CLIENT|SERVER): (Received|Sent) message larger than max")
"""What gRPC itself says of a message beyond a limit of either side."""

_REQUEST_TOO_LARGE = ("SERVER: Received message larger than max", "CLIENT: Sent message larger than max")

_MOST_SECONDS = 99_999_999
"""Of a deadline: the eight digits that the wire format has."""

_FAILURE_BEHIND_METADATA = 1.0
"""Seconds to wait for a failure behind metadata that say nothing: a call that fails at once ends the wait for its
metadata too, a moment before its failure is known. More than that takes on a busy machine."""


_AGAIN_SECONDS = 0.2
"""After which a call is made once more that may be: gRPC waits for half as long before it connects again."""

_RETIRE_SECONDS = 600.0
"""For which calls over a channel that was replaced may go on: event streams then resume on another."""


class NoMessage(Enum):
    """Why a read brings no message."""

    YET = "yet"
    MORE = "more"


class ServerStream:
    """The messages of a server-streaming call, read one at a time."""

    def __init__(self, call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> None:
        """Read from a call that has been made."""
        self._call = call
        self._reading: asyncio.Future[Any] | None = None
        self._interrupted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def until_message(self, seconds: float) -> bool:
        """Wait for the first message or the end, but only until the server says that it has begun, or for ``seconds``.

        Answers whether the message, or the end, is there.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: 503, it was interrupted.
        """
        reading = self._read_on()
        begun = asyncio.ensure_future(self._call.initial_metadata())
        try:
            await self._wait((reading, begun), seconds)
            if begun.done() and not (begun.exception() is None and begun.result()):
                await self._wait((reading,), _FAILURE_BEHIND_METADATA)
        finally:
            begun.cancel()
        if reading.done():
            reading.result()
        return reading.done()

    async def read(self, seconds: float) -> bytes | NoMessage:
        """Answer the next message, or why there is none after ``seconds``.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: 503, it was interrupted.
        """
        reading = self._read_on()
        await self._wait((reading,), seconds)
        if not reading.done():
            return NoMessage.YET
        self._reading = None
        message = reading.result()
        return NoMessage.MORE if message is grpc.aio.EOF else bytes(message)

    def interrupt(self) -> None:
        """Have whoever reads stop, now or when it reads next: there will be no more."""
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    def cancel(self) -> None:
        """End the call, if it goes on."""
        self._call.cancel()
        if self._reading is not None and not self._reading.cancel() and not self._reading.cancelled():
            self._reading.exception()  # nobody else will look at it

    async def _wait(self, awaited: tuple[asyncio.Future[Any], ...], seconds: float) -> None:
        await asyncio.wait((*awaited, self._interrupted), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._interrupted.done():
            raise RequestFailed(503, "This gateway is stopping; ask again.")

    def _read_on(self) -> asyncio.Future[Any]:
        # One reading goes on through any number of time-outs: to give it up could lose a message.
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        return self._reading


class Upstream:
    """Calls methods of one server."""

    def __init__(self, target: str, margin: float, *, multiplex: bool, tls: UpstreamTls | None = None) -> None:
        """Open a channel; connects with the first call.

        Args:
            target: ``HOST:PORT`` or ``unix:PATH``.
            multiplex: whether calls that wait go over one stream.
            tls: how both sides show themselves; None: plain text.
            margin: seconds that this side waits beyond a call's deadline, so that an answer given
                in the last moment arrives, and a server that says nothing is known to be gone.
        """
        self._target = target
        self._tls = tls
        self._multiplex = multiplex
        self._margin = margin
        self._probe = Probe(target, tls)
        self._retiring: set[asyncio.Task[None]] = set()
        self._connect()

    def _connect(self) -> None:
        if self._tls is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS)
        else:
            name = [("grpc.ssl_target_name_override", self._tls.name)] if self._tls.name else []
            options = (*_CHANNEL_OPTIONS, *name)
            self._channel = grpc.aio.secure_channel(self._target, self._tls.credentials, options=options)
        self._multiplexing = Multiplexing(self._channel) if self._multiplex else None
        self._multicallables: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    def reconnect(self) -> None:
        """Make all further calls over a new channel; those in progress end on the old one."""
        retired = asyncio.create_task(_retire(self._channel, self._multiplexing))
        self._retiring.add(retired)
        retired.add_done_callback(self._retiring.discard)
        self._connect()

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float, *, repeatable: bool) -> Reply:
        """Make a unary call.

        Args:
            method: ``/package.Service/Method``.
            request: the serialized request.
            metadata: of the call.
            seconds: until the deadline that the server is told.
            repeatable: whether the call may be made again when nobody knows if it was carried out.

        Raises:
            RequestFailed: 503 for no answer by the deadline and the margin; 502 for a server that
                does not speak gRPC; 400 or 500 for a request or an answer that is too large for gRPC.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        unary = Unary(method, request, metadata, deadline, deadline + self._margin)
        try:
            reply = await self._multiplexed(unary, repeatable=repeatable)
            if reply is None:
                reply = await self._single(unary)
                if repeatable and reply.code is grpc.StatusCode.UNAVAILABLE and reply.details is None:
                    # The link failed, not the server: by then gRPC may have another.
                    await asyncio.sleep(_AGAIN_SECONDS)
                    reply = await self._single(unary)
            return reply
        except TimeoutError:
            # A server that lives ends the call itself at its deadline, so this one, or the link to it, does not;
            # whether it did what it was asked, nobody can say. 504 would promise that it did not.
            raise RequestFailed(503, "The server did not answer.") from None

    async def _multiplexed(self, unary: Unary, *, repeatable: bool) -> Reply | None:
        """The reply to a call made over the stream; None if it has to be made by itself."""
        if self._multiplexing is None:
            return None
        try:
            return await self._multiplexing.call(unary)
        except StreamBroken as broken:
            return None if repeatable else Reply(grpc.StatusCode.UNAVAILABLE, str(broken), b"", ())

    async def _single(self, unary: Unary) -> Reply:
        multicallable = self._multicallables.get(unary.method)
        if multicallable is None:
            multicallable = self._multicallables[unary.method] = self._channel.unary_unary(unary.method)
        # As metadata and not as the call's own timeout: gRPC would give up at the very moment that it tells the
        # server, and an answer on its way would be lost.
        timeout = _timeout_text(unary.deadline - asyncio.get_running_loop().time())
        async with asyncio.timeout_at(unary.give_up):
            try:
                call = multicallable(unary.request, metadata=(*unary.metadata, ("grpc-timeout", timeout)))
                return Reply(grpc.StatusCode.OK, "", await call, ())
            except grpc.aio.AioRpcError as error:
                return await self.failure(error)

    @asynccontextmanager
    async def stream(
        self, method: str, request: bytes, metadata: Metadata, seconds: float | None
    ) -> AsyncIterator[ServerStream]:
        """Make a server-streaming call; it is cancelled when the context is left.

        Args:
            method: ``/package.Service/Method``.
            request: the serialized request.
            metadata: of the call.
            seconds: until its deadline; None: it may go on for ever.
        """
        multicallable: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(method)
        # gRPC takes a deadline that is centuries away for one that has passed.
        timeout = None if seconds is None else min(seconds, _MOST_SECONDS)
        stream = ServerStream(multicallable(request, metadata=tuple(metadata), timeout=timeout))
        try:
            yield stream
        finally:
            stream.cancel()

    async def failure(self, error: grpc.aio.AioRpcError) -> Reply:
        """What a failed call says.

        Raises:
            RequestFailed: 502 if what answers behind does not speak gRPC; 400 or 500 if a request or an answer is
                too large for gRPC.
        """
        sent = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
        reply = Reply(error.code(), error.details() or "", b"", sent)
        if reply.details is not None:
            return reply
        if reply.code in _MAYBE_NOT_GRPC and await self._probe.speaks_something_else():
            raise RequestFailed(502, "What answers behind this gateway does not speak gRPC.")
        if reply.code is grpc.StatusCode.RESOURCE_EXHAUSTED and (too_large := _TOO_LARGE.match(reply.message)):
            if too_large[0] in _REQUEST_TOO_LARGE:
                raise RequestFailed(400, "The request is larger than the server takes.")
            raise RequestFailed(500, "The server's answer is too large.")
        return reply

    async def close(self) -> None:
        """Close the channel; calls in progress are cancelled."""
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._multiplexing is not None:
            self._multiplexing.close()
        await self._channel.close()


async def _retire(channel: grpc.aio.Channel, multiplexing: Multiplexing | None) -> None:
    try:
        await asyncio.sleep(_RETIRE_SECONDS)
    finally:
        if multiplexing is not None:
            multiplexing.close()
        await channel.close()


def _timeout_text(seconds: float) -> str:
    milliseconds = max(round(seconds * 1000), 1)
    return f"{milliseconds}m" if milliseconds < 100_000_000 else f"{min(round(seconds), _MOST_SECONDS)}S"
