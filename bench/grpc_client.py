"""Unary gRPC calls as cheap as Python can, for measurements of servers that a client of grpc.aio could not load.

Just as much of HTTP/2 as gRPC servers need: one connection, any number of calls at once. The headers of a call are
the same for all, so that after the first call they are a few indexes into the table that both sides keep, as with
any other client. The server is asked to keep no such table of its own, so that its status can be read as it is.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import cast

from hpack import Decoder

from bench.wire import Listener

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_WINDOW = 2**30
_TOP_UP = 2**20
_STATUS_OK = b"\x0bgrpc-status\x010"
_STATIC_ENTRIES = 61


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def _text(text: str) -> bytes:
    """A string as HPACK has it, up to 126 bytes, not compressed."""
    raw = text.encode("ascii")
    assert len(raw) < 127  # noqa: S101 - our own constants
    return bytes([len(raw)]) + raw


def header_blocks(path: str, authority: str, token: str) -> tuple[bytes, bytes]:
    """The headers of the first call, which fill the server's table, and of all later ones, which point into it."""
    named = [
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "bench"),
        ("x-auth-token", token),
    ]
    fixed = b"\x83\x86"  # :method POST, :scheme http
    first = fixed + b"".join(b"\x40" + _text(name) + _text(value) for name, value in named)
    return first, fixed + bytes(0x80 | _STATIC_ENTRIES + len(named) - index for index in range(len(named)))


class GrpcWire:
    """One connection to each of some gRPC servers, for calls of one method."""

    def __init__(self, addresses: Sequence[str], path: str, token: str, listener: Listener) -> None:
        self._addresses = addresses
        self._path, self._token = path, token
        self._connections: list[_Connection] = []
        self.listener = listener

    async def open(self, slots: int) -> None:
        """Do what `Wire.open` promises; any number of slots share a connection."""
        for address in self._addresses[len(self._connections) :]:
            self._connections.append(await self._connect(address))

    def send(self, slot: int, request: bytes) -> None:
        """Do what `Wire.send` promises."""
        self._connections[slot % len(self._connections)].send(slot, request)

    def flush(self) -> None:
        """Write what was sent as one."""
        for connection in self._connections:
            connection.flush()

    async def _connect(self, address: str) -> _Connection:
        host, _, port = address.rpartition(":")
        first, later = header_blocks(self._path, address, self._token)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self, first, later), host, int(port))
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self, wire: GrpcWire, first: bytes, later: bytes) -> None:
        self._wire = wire
        self._first, self._later = first, later
        self._received = b""
        self._slots: dict[int, int] = {}
        self._answers: dict[int, bytes] = {}
        self._next_stream = 1
        self._out: list[bytes] = []
        self._room = 65535
        self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, _WINDOW)  # no header table, no push, wide streams
        opened = frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW))
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + opened)

    def send(self, slot: int, request: bytes) -> None:
        block, self._first = self._first or self._later, b""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._slots[stream] = slot
        message = b"\0" + struct.pack(">I", len(request)) + request
        self._room -= len(message)
        self._out += (
            frame(_HEADERS, _END_HEADERS, stream, block),
            frame(_DATA, _END_STREAM, stream, message),
        )

    def flush(self) -> None:
        # Requests are small and few at once: a window that is used up means that something is wrong, so it may fail.
        if self._room < 0:
            self._wire.listener.failed("the server takes no more data")
        if self._out:
            out, self._out = b"".join(self._out), []
            self._transport.write(out)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        at, end = 0, len(received)
        while end - at >= 9:
            size = int.from_bytes(received[at : at + 3], "big")
            if end - at < 9 + size:
                break
            kind, flags = received[at + 3], received[at + 4]
            stream = int.from_bytes(received[at + 5 : at + 9], "big")
            self._take(kind, flags, stream, received[at + 9 : at + 9 + size])
            at += 9 + size
        self._received = received[at:]
        self.flush()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._answers[stream] = self._answers.get(stream, b"") + payload
            self._take_room(len(payload))
        elif kind == _HEADERS:
            if flags & _END_STREAM:
                self._end(stream, payload)
        elif kind == _WINDOW_UPDATE:
            if stream == 0:
                self._room += int.from_bytes(payload, "big")
        elif kind in (_SETTINGS, _PING):
            if not flags & _ACK:
                self._out.append(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RESET, _GOAWAY):
            self._wire.listener.failed(f"the server ended {'a call' if stream else 'the connection'}: {payload!r}")

    def _take_room(self, size: int) -> None:
        self._taken += size
        if self._taken > _TOP_UP:
            self._out.append(frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0

    def _end(self, stream: int, trailers: bytes) -> None:
        slot, answer = self._slots.pop(stream), self._answers.pop(stream, b"")
        if _STATUS_OK not in trailers or len(answer) < 5 or len(answer) != 5 + int.from_bytes(answer[1:5], "big"):
            self._wire.listener.failed(f"unexpected answer: {Decoder().decode(trailers)} {answer[:200]!r}")
            return
        self._wire.listener.answered(slot, answer[5:])

    def connection_lost(self, error: Exception | None) -> None:
        if self._slots:
            self._wire.listener.failed(f"the connection was closed before the answer: {error}")
