"""The messages of a server-streaming call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import grpc

from restmap_gateway.errors import RequestFailed
from restmap_gateway.upstream.reply import Metadata, Reply

_FAILURE_BEHIND_METADATA = 1.0
"""Seconds to wait for a failure after empty initial metadata: in a call that fails at once, the metadata arrive a
moment before the failure. A busy machine can need more time than that."""


class NoMessage(Enum):
    """The reason why a read returns no message."""

    YET = "yet"
    MORE = "more"


class ServerStream:
    """The messages of a server-streaming call, read one at a time."""

    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[bytes, bytes],
        failure: Callable[[grpc.aio.AioRpcError], Awaitable[Reply]],
    ) -> None:
        """Wrap a call that has been made; ``failure`` converts its failure to a reply."""
        self._call = call
        self._failure = failure
        self._reading: asyncio.Future[Any] | None = None
        self._interrupted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._has_begun = False
        """Whether the server's initial metadata are here."""

    async def until_message(self, seconds: float) -> bool:
        """Wait for the first message or the end, until the server sends initial metadata or ``seconds`` pass.

        Return whether the message or the end is there.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: 503, the stream was interrupted.
        """
        reading = self._read_on()
        begun = asyncio.ensure_future(self._call.initial_metadata())
        try:
            await self._wait((reading, begun), seconds)
            if begun.done() and not (begun.exception() is None and begun.result()):
                await self._wait((reading,), _FAILURE_BEHIND_METADATA)
        finally:
            self._has_begun = begun.done() or reading.done()
            begun.cancel()
        if reading.done():
            reading.result()
        return reading.done()

    async def initial_metadata(self) -> Metadata:
        """Return the server's initial metadata; none if they were not here yet at the end of `until_message`."""
        return tuple(await self._call.initial_metadata() or ()) if self._has_begun else ()

    async def read(self, seconds: float) -> bytes | NoMessage:
        """Return the next message, or why there is none after ``seconds``.

        Raises:
            grpc.aio.AioRpcError: the call failed.
            RequestFailed: 503, the stream was interrupted.
        """
        reading = self._read_on()
        await self._wait((reading,), seconds)
        if not reading.done():
            return NoMessage.YET
        self._reading = None
        message = reading.result()
        return NoMessage.MORE if message is grpc.aio.EOF else bytes(message)

    async def failure(self, error: grpc.aio.AioRpcError) -> Reply:
        """Return the reply of the failed call.

        Raises:
            RequestFailed: 502 if the upstream does not speak gRPC; 400 or 500 if a request or a response is too large
                for gRPC.
        """
        return await self._failure(error)

    async def code(self) -> grpc.StatusCode:
        """Return the status code of the call; CANCELLED if it has not ended, so that it will be cancelled."""
        return await self._call.code() if self._call.done() else grpc.StatusCode.CANCELLED

    def interrupt(self) -> None:
        """End the current or the next read with 503: no more messages are passed on."""
        if not self._interrupted.done():
            self._interrupted.set_result(None)

    def cancel(self) -> None:
        """Cancel the call if it is in progress."""
        self._call.cancel()
        if self._reading is not None and not self._reading.cancel() and not self._reading.cancelled():
            self._reading.exception()  # mark the exception as retrieved

    async def _wait(self, awaited: tuple[asyncio.Future[Any], ...], seconds: float) -> None:
        await asyncio.wait((*awaited, self._interrupted), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._interrupted.done():
            raise RequestFailed(503, "This gateway is stopping; ask again.")

    def _read_on(self) -> asyncio.Future[Any]:
        # Keep one pending read over any number of timeouts: cancelling it could lose a message.
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        return self._reading
