"""Raw HTTP/2 connections to a gRPC server, frame by frame."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
CANCEL = 8
INITIAL_WINDOW_SIZE = 4

STALLED_SECONDS = 1.0
"""Seconds without progress after which the server is assumed to have stopped reading."""

_BATCH = 64 * 1024
FRAME_BYTES = 16 * 1024
"""Largest frame that every server must accept, in bytes."""

MIB = 1024 * 1024


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(payload: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """Return a gRPC message; ``length`` overrides the length in its prefix."""
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


def call_headers(path: str, metadata: Sequence[tuple[str, str]] = ()) -> Sequence[tuple[str, str]]:
    """Return the headers of a call."""
    pseudo = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "server"))
    return (*pseudo, ("te", "trailers"), ("content-type", "application/grpc"), *metadata)


class Connection:
    """Connection to a server for hand-written frames."""

    def __init__(self, address: str, settings: dict[int, int] | None = None, *, preface: bool = True) -> None:
        """Connect to HOST:PORT; send preface and SETTINGS."""
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.socket.settimeout(STALLED_SECONDS)
        self.sent = 0
        """Bytes sent so far."""
        self._streams = itertools.count(1, 2)
        self._encoder = hpack.Encoder()
        if preface:
            said = b"".join(struct.pack(">HI", key, value) for key, value in (settings or {}).items())
            self.send(PREFACE + frame(SETTINGS, 0, 0, said))

    def send(self, data: bytes) -> bool:
        """Send data; return False if the server has closed the connection or stopped reading."""
        view = memoryview(data)
        while view:
            try:
                taken = self.socket.send(view)
            except OSError:
                return False
            self.sent += taken
            view = view[taken:]
        return True

    def flood(self, frames: Iterable[bytes]) -> bool:
        """Send many frames per system call; return False if the server did not take all of them."""
        batch = bytearray()
        for each in frames:
            batch += each
            if len(batch) >= _BATCH:
                if not self.send(bytes(batch)):
                    return False
                batch.clear()
        return self.send(bytes(batch))

    def call(self, path: str, *metadata: tuple[str, str], end: bool = False) -> tuple[int, bytes]:
        """Return a new stream id and the frame with the headers of a call."""
        stream = next(self._streams)
        block = self.headers(path, *metadata)
        return stream, frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)

    def headers(self, path: str, *metadata: tuple[str, str]) -> bytes:
        """Return the header block of a call."""
        return self._encoder.encode(call_headers(path, metadata))

    def next_stream(self) -> int:
        """Return a new stream id."""
        return next(self._streams)

    def grow_window(self, stream: int, by: int) -> bytes:
        """Return a WINDOW_UPDATE frame for ``by`` more bytes from the server."""
        return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", by))

    def read(self, size: int = _BATCH) -> bytes:
        """Return received bytes; empty if the server has closed the connection or is silent for `STALLED_SECONDS`."""
        try:
            return self.socket.recv(size)
        except OSError:
            return b""

    def is_closed(self) -> bool:
        """Return whether the server closes the connection within `STALLED_SECONDS` after its last byte."""
        try:
            while self.socket.recv(_BATCH):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class Attack:
    """Connections that stay open until the end of a ``with`` block."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.refused = 0
        """Connections that the server refused, or closed at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def sent(self) -> int:
        """Return the bytes sent so far."""
        return sum(connection.sent for connection in self.connections)

    def open(self, address: str, settings: dict[int, int] | None = None, *, preface: bool = True) -> Connection:
        """Open another connection."""
        connection = Connection(address, settings, preface=preface)
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.close()


def chunks(stream: int, data: bytes, *, end: bool = False) -> Iterator[bytes]:
    """Yield DATA frames of at most `FRAME_BYTES`."""
    for start in range(0, len(data), FRAME_BYTES):
        last = end and start + FRAME_BYTES >= len(data)
        yield frame(DATA, END_STREAM if last else 0, stream, data[start : start + FRAME_BYTES])
