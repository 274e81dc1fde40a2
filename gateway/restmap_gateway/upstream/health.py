"""Watches the health of a server by ``grpc.health.v1``; a server without that service is healthy while connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckResponse

_WATCH = "/grpc.health.v1.Health/Watch"

_EVERYTHING = b""
"""The serialized request for the health of the whole server: a service without a name."""

_CHECK_SECONDS = 0.1
"""Seconds between checks of the connection state; a callback of gRPC for its changes cannot be removed again."""

_RETRY_SECONDS = 0.5
"""Seconds until the next watch after one that ended or reported that the server accepts no calls."""


class ServerState(IntEnum):
    """State of a server; lower is better."""

    SERVING = 0
    """The server accepts calls."""
    UNKNOWN = 1
    """The server has not reported its state yet."""
    NOT_SERVING = 2
    """The server reports that it accepts no calls, for now or because it is about to stop."""
    UNREACHABLE = 3
    """There is no connection to the server."""


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """State of a server, as known without asking it."""

    address: str
    """Address of the server, as gRPC's target."""
    state: ServerState
    """State by its watch."""
    is_connected: bool
    """Whether its channel is connected; calls may succeed although the watch has no answer."""

    @property
    def is_reached(self) -> bool:
        """Return whether the server can be reached."""
        return self.is_connected or self.state in (ServerState.SERVING, ServerState.NOT_SERVING)


class HealthWatch:
    """Watches one server over one channel."""

    def __init__(self, channel: grpc.aio.Channel, renew_seconds: float, report: Callable[[ServerState], None]) -> None:
        """Create the watch.

        Args:
            channel: channel to the server; the watch connects it and keeps it connected.
            renew_seconds: seconds after which the watch is started again, so that the server sends data; 0: never.
            report: callback for the state of the server; also called when the state is the same.
        """
        self._channel = channel
        self._watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_WATCH)
        self._renew_seconds = renew_seconds or float("inf")
        self._report = report

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            call = self._watch(_EVERYTHING, wait_for_ready=True)
            try:
                await self._follow(call, asyncio.get_running_loop().time() + self._renew_seconds)
            finally:
                # Cancel even if the server would continue: an open watch would keep a draining server from stopping.
                call.cancel()

    async def _follow(self, call: grpc.aio.UnaryStreamCall[bytes, bytes], renew_at: float) -> None:
        """Read until it is time for another watch."""
        has_reported = False
        while True:
            reading = asyncio.ensure_future(call.read())
            try:
                if not await self._is_read(reading, renew_at, has_reported=has_reported):
                    return
                state = _state_of(reading.result())
            except grpc.aio.AioRpcError as error:
                await self._follow_connection(error, renew_at)
                return
            finally:
                if not reading.cancel() and not reading.cancelled():
                    reading.exception()  # mark the exception as retrieved
            if state is not None:
                self._report(state)
            if state is not ServerState.SERVING:
                await asyncio.sleep(_RETRY_SECONDS)
                return
            has_reported = True

    async def _is_read(self, reading: asyncio.Future[object], renew_at: float, *, has_reported: bool) -> bool:
        """Wait for the next message of the server; return False if there is none or it is time for another watch."""
        loop = asyncio.get_running_loop()
        while not reading.done():
            await asyncio.wait((reading,), timeout=_CHECK_SECONDS)
            if reading.done():
                break
            state = self._channel.get_state(try_to_connect=True)
            is_gone = has_reported and state is not grpc.ChannelConnectivity.READY
            if is_gone or state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                self._report(ServerState.UNREACHABLE)
            if is_gone:
                return False  # also when the server drains: it accepts no calls and waits for those in progress
            if loop.time() >= renew_at:
                if not has_reported:
                    self._report(ServerState.UNREACHABLE)
                return False
        return True

    async def _follow_connection(self, error: grpc.aio.AioRpcError, renew_at: float) -> None:
        """Watch only the connection, without the health service, until it breaks or it is time for another watch."""
        loop = asyncio.get_running_loop()
        if error.code() is grpc.StatusCode.UNAVAILABLE or not self._is_connected():
            self._report(ServerState.UNREACHABLE)
            await asyncio.sleep(_RETRY_SECONDS if self._is_connected() else _CHECK_SECONDS)
            return
        self._report(ServerState.SERVING)
        while self._is_connected():
            if loop.time() >= renew_at:
                return
            await asyncio.sleep(_CHECK_SECONDS)
        self._report(ServerState.UNREACHABLE)

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


def _state_of(read: object) -> ServerState | None:
    """Return the state that the server reported; None if the watch ended without a report."""
    if not isinstance(read, bytes):
        return None
    try:
        status = HealthCheckResponse.FromString(read).status
    except DecodeError:
        return ServerState.SERVING  # the server replies, but not with a health status
    return ServerState.NOT_SERVING if status == HealthCheckResponse.NOT_SERVING else ServerState.SERVING
