"""``multiplex.v1`` streams that send calls and never read replies."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from multiplex.v1 import multiplex_pb2 as pb

METHOD = "/multiplex.v1.MultiplexService/Multiplex"

QUIET_SECONDS = 1.0
"""Seconds without a frame taken after which the server is assumed to have stopped reading."""

_PATIENCE = 60.0
"""Maximum lifetime of a stream in seconds."""


class UnreadStreams:
    """Streams that send frames as long as the server takes them, and read nothing until ``close`` or ``codes``."""

    def __init__(self, address: str, frames: Sequence[bytes], *, streams: int = 1, repeat: int = 1) -> None:
        """Send these serialized frames ``repeat`` times on each stream; return once the server stops reading."""
        self.sent = 0
        """Bytes that gRPC has taken; gRPC buffers one or two frames per stream."""
        self._taken = threading.Event()
        self._closed = threading.Event()
        self._channels: list[grpc.Channel] = []
        self._streams: list[Any] = []
        for _ in range(streams):
            # The option keeps the channel from sharing its connection with other channels.
            channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
            self._channels.append(channel)
            method: Any = channel.stream_stream(METHOD)
            self._streams.append(method(self._frames(frames, repeat), timeout=_PATIENCE))
        while self._taken.wait(QUIET_SECONDS):
            self._taken.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def codes(self) -> Sequence[grpc.StatusCode]:
        """Read each stream to its end; return the status codes."""
        return [_code(stream) for stream in self._streams]

    def close(self) -> None:
        """Close all channels."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    def _frames(self, frames: Sequence[bytes], repeat: int) -> Iterator[bytes]:
        for _ in range(repeat):
            for frame in frames:
                self.sent += len(frame)
                self._taken.set()
                yield frame
        self._closed.wait()


def _code(stream: Any) -> grpc.StatusCode:  # noqa: ANN401 - grpc has no type for it
    try:
        for _ in stream:
            pass
    except grpc.RpcError:
        pass
    code: grpc.StatusCode = stream.code()
    return code


def calls(number: int, method: str, request: bytes, token: str, *, first_id: int = 0) -> bytes:
    """Return a frame with ``number`` equal calls."""
    metadata = [pb.Metadatum(key="x-auth-token", value=token.encode())] if token else []
    made = [pb.Call(id=first_id + index, method=method, request=request, metadata=metadata) for index in range(number)]
    return pb.MultiplexRequest(calls=made).SerializeToString()


def unread_answers(
    address: str, method: str, request: bytes, token: str = "", *, streams: int = 1, megabytes: int = 64
) -> UnreadStreams:
    """Send frames of calls without reading the replies; without a token the server refuses each call."""
    number = 500 if token else 2000
    frames = [calls(number, method, request, token, first_id=number * index) for index in range(8)]
    return UnreadStreams(address, frames, streams=streams, repeat=megabytes * 1024 * 1024 // sum(map(len, frames)))
