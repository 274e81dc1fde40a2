"""Watches what a server says of its health, by ``grpc.health.v1``; whoever lacks that is healthy while connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckResponse

_WATCH = "/grpc.health.v1.Health/Watch"

_EVERYTHING = b""
"""The serialized request for the server as a whole: a service without a name."""

_LOOK_SECONDS = 0.1
"""How often the connection is looked at. gRPC can also call when it changes, but not be told to stop calling."""

_ASK_AGAIN_SECONDS = 0.5
"""After a watch that ended, or that said that the server takes no calls."""


class Standing(IntEnum):
    """What is known of a server; the less, the better."""

    SERVING = 0
    """It takes calls."""
    UNKNOWN = 1
    """It has not said anything yet."""
    NOT_SERVING = 2
    """It says that it takes none, for now or as it is about to stop."""
    UNREACHABLE = 3
    """There is no connection to it."""


class HealthWatch:
    """Watches one server over one channel."""

    def __init__(self, channel: grpc.aio.Channel, renew_seconds: float, say: Callable[[Standing], None]) -> None:
        """Prepare.

        Args:
            channel: to the server; it is connected as soon and as often as that is possible.
            renew_seconds: after which the watch is begun anew, so that the server sends something; 0: never.
            say: is told how the server stands, whenever that may have changed.
        """
        self._channel = channel
        self._watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_WATCH)
        self._renew_seconds = renew_seconds or float("inf")
        self._say = say

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            call = self._watch(_EVERYTHING, wait_for_ready=True)
            try:
                await self._follow(call, asyncio.get_running_loop().time() + self._renew_seconds)
            finally:
                # Also where the server goes on: an open watch would keep a server that drains from stopping.
                call.cancel()

    async def _follow(self, call: grpc.aio.UnaryStreamCall[bytes, bytes], renew_at: float) -> None:
        """Read on until it is time for another watch."""
        has_said = False
        while True:
            reading = asyncio.ensure_future(call.read())
            try:
                if not await self._is_read(reading, renew_at, has_said=has_said):
                    return
                standing = _standing(reading.result())
            except grpc.aio.AioRpcError as error:
                await self._follow_connection(error, renew_at)
                return
            finally:
                if not reading.cancel() and not reading.cancelled():
                    reading.exception()  # nobody else will look at it
            if standing is not None:
                self._say(standing)
            if standing is not Standing.SERVING:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
                return
            has_said = True

    async def _is_read(self, reading: asyncio.Future[object], renew_at: float, *, has_said: bool) -> bool:
        """Wait for the server's next word; False if there will be none, or it is time to ask anew."""
        loop = asyncio.get_running_loop()
        while not reading.done():
            await asyncio.wait((reading,), timeout=_LOOK_SECONDS)
            if reading.done():
                break
            state = self._channel.get_state(try_to_connect=True)
            is_gone = has_said and state is not grpc.ChannelConnectivity.READY
            if is_gone or state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                self._say(Standing.UNREACHABLE)
            if is_gone:
                return False  # also when the server drains: it takes no calls, and waits for those that it has
            if loop.time() >= renew_at:
                if not has_said:
                    self._say(Standing.UNREACHABLE)
                return False
        return True

    async def _follow_connection(self, error: grpc.aio.AioRpcError, renew_at: float) -> None:
        """Go by the connection alone, as there is no watch; return when it breaks, or it is time to ask anew."""
        loop = asyncio.get_running_loop()
        if error.code() is grpc.StatusCode.UNAVAILABLE or not self._is_connected():
            self._say(Standing.UNREACHABLE)
            await asyncio.sleep(_ASK_AGAIN_SECONDS if self._is_connected() else _LOOK_SECONDS)
            return
        self._say(Standing.SERVING)
        while self._is_connected():
            if loop.time() >= renew_at:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        self._say(Standing.UNREACHABLE)

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


def _standing(read: object) -> Standing | None:
    """What the server said; None if it said nothing, and ended the watch."""
    if not isinstance(read, bytes):
        return None
    try:
        said = HealthCheckResponse.FromString(read).status
    except DecodeError:
        return Standing.SERVING  # it answers, and this is no word on its health
    return Standing.NOT_SERVING if said == HealthCheckResponse.NOT_SERVING else Standing.SERVING
