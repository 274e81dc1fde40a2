"""The server behind: one channel, deadlines, and what a failure to reach it means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from gateway.errors import RequestFailed
from gateway.probe import Probe

Metadata = Sequence[tuple[str, str | bytes]]

_CHANNEL_OPTIONS = (
    # The server is ours to trust, and its answers are bounded by what it serves.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    # Back within two seconds after a restart of the server.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

_MAYBE_NOT_GRPC = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED})


@dataclass(frozen=True, slots=True)
class Reply:
    """How the server ended a call."""

    code: grpc.StatusCode
    message: str
    response: bytes
    """Empty unless the code is OK."""
    metadata: Metadata
    """Of a failure, what came with it; empty on success."""

    @property
    def details(self) -> bytes | None:
        """The serialized ``google.rpc.Status``, if there is one."""
        found = (value for key, value in self.metadata if key == "grpc-status-details-bin")
        return next((value for value in found if isinstance(value, bytes)), None)


class Upstream:
    """Calls methods of one server."""

    def __init__(self, target: str, margin: float) -> None:
        """Open a channel; connects with the first call.

        Args:
            target: ``HOST:PORT`` or ``unix:PATH``.
            margin: seconds that this side waits beyond a call's deadline, so that an answer given
                in the last moment arrives and 504 really means that nothing was done.
        """
        self._channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._margin = margin
        self._probe = Probe(target)

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float) -> Reply:
        """Make a unary call.

        Args:
            method: ``/package.Service/Method``.
            request: the serialized request.
            metadata: of the call.
            seconds: until the deadline that the server is told.

        Raises:
            RequestFailed: 504 for no answer by the deadline and the margin; 502 for a server that
                does not speak gRPC.
        """
        multicallable: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method)
        # As metadata and not as the call's own timeout: gRPC would give up at the very moment that it tells the
        # server, and an answer on its way would be lost.
        call = multicallable(request, metadata=(*metadata, ("grpc-timeout", _timeout_text(seconds))))
        try:
            async with asyncio.timeout(seconds + self._margin):
                response = await call
                return Reply(grpc.StatusCode.OK, "", response, ())
        except TimeoutError:
            raise RequestFailed(504, "The deadline passed before the call was answered.") from None
        except grpc.aio.AioRpcError as error:
            sent = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
            reply = Reply(error.code(), error.details() or "", b"", sent)
        if reply.code in _MAYBE_NOT_GRPC and reply.details is None and await self._probe.speaks_something_else():
            raise RequestFailed(502, "What answers behind this gateway does not speak gRPC.")
        return reply

    async def close(self) -> None:
        """Close the channel; calls in progress are cancelled."""
        await self._channel.close()


def _timeout_text(seconds: float) -> str:
    # The wire format has at most eight digits.
    milliseconds = max(round(seconds * 1000), 1)
    return f"{milliseconds}m" if milliseconds < 100_000_000 else f"{min(round(seconds), 99_999_999)}S"
