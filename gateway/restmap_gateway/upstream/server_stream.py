"""The messages of a server-streaming call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import grpc

from restmap_gateway.errors import RequestFailed
from restmap_gateway.upstream.reply import Reply

_FAILURE_BEHIND_METADATA = 1.0
"""Seconds to wait for a failure behind metadata that say nothing: a call that fails at once ends the wait for its
metadata too, a moment before its failure is known. More than that takes on a busy machine."""


class NoMessage(Enum):
    """Why a read brings no message."""

    YET = "yet"
    MORE = "more"


class ServerStream:
    """The messages of a server-streaming call, read one at a time."""

    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[bytes, bytes],
        failure: Callable[[grpc.aio.AioRpcError], Awaitable[Reply]],
    ) -> None:
        """Read from a call that has been made; ``failure`` tells what it says when it fails."""
        self._call = call
        self._failure = failure
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

    async def failure(self, error: grpc.aio.AioRpcError) -> Reply:
        """What the call says that failed.

        Raises:
            RequestFailed: 502 if what answers behind does not speak gRPC; 400 or 500 if a request or an answer is
                too large for gRPC.
        """
        return await self._failure(error)

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
