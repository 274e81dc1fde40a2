"""HTTP/2 by hand: as a client that keeps to the rules, and as one that does not."""

from __future__ import annotations

import asyncio
import itertools
import struct
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self, cast

from hpack import Decoder, Encoder

from bench.grpc_client import frame
from bench.siege.cast import Budget

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
_INITIAL_WINDOW = 4
_MOST_DATA = 16_384

Metadata = Sequence[tuple[str, str]]


class Http2:
    """A connection. Ends of calls are counted in the budget."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: Budget) -> None:
        self._reader, self._writer, self._budget = reader, writer, budget
        self._encoder, self._decoder = Encoder(), Decoder()
        self._streams = itertools.count(1, 2)
        self._room: dict[int, int] = {0: 65_535}
        self._initial = 65_535
        self._has_room = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        """Set as soon as a call or the connection has ended."""

    @classmethod
    async def open(cls, address: str, budget: Budget, *, reads: bool = True) -> Self:
        """Connect to a server, and read what it says; or never, with ``reads`` false.

        Raises:
            OSError: it does not take the connection.
        """
        if address.startswith("unix:"):
            reader, writer = await asyncio.open_unix_connection(address[5:], limit=2**16)
        else:
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
        connection = cls(reader, writer, budget)
        await connection.send(PREFACE + frame(SETTINGS, 0, 0, b""))
        if reads:
            connection._reading = asyncio.create_task(connection._read())
        else:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's has it
        return connection

    async def send(self, data: bytes) -> None:
        """Send as it is; waits while the server takes nothing. Raises OSError if it hung up."""
        self._writer.write(data)
        self._budget.sent += len(data)
        await self._writer.drain()

    def next_stream(self) -> int:
        """The id of a new stream."""
        return next(self._streams)

    def headers(self, path: str, metadata: Metadata = ()) -> bytes:
        """The header block of a call."""
        pseudo = ((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "server"))
        fixed = (("te", "trailers"), ("content-type", "application/grpc"))
        return self._encoder.encode((*pseudo, *fixed, *metadata))

    async def begin(self, path: str, metadata: Metadata = ()) -> int:
        """Send the headers of a call; answers its stream."""
        stream = self.next_stream()
        await self.send(frame(HEADERS, END_HEADERS, stream, self.headers(path, metadata)))
        return stream

    async def data(self, stream: int, payload: bytes, *, end: bool = False) -> None:
        """Send data as fast as the server's windows allow."""
        self._room.setdefault(stream, self._initial)
        at = 0
        while at < len(payload):
            room = min(self._room[0], self._room[stream], _MOST_DATA)
            if room <= 0:
                self._has_room.clear()
                await self._has_room.wait()
                continue
            part = payload[at : at + room]
            at += len(part)
            self._room[0] -= len(part)
            self._room[stream] -= len(part)
            await self.send(frame(DATA, END_STREAM if end and at >= len(payload) else 0, stream, part))

    def close(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        self._end("hung up")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._room[stream] = self._room.get(stream, self._initial) + int.from_bytes(payload, "big")
            self._has_room.set()
        elif kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                setting, value = struct.unpack_from(">HI", payload, at)
                if setting == _INITIAL_WINDOW:
                    self._room = {s: room + (value - self._initial if s else 0) for s, room in self._room.items()}
                    self._initial = value
            self._has_room.set()
            self._writer.write(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == HEADERS:
            named = dict(cast("Iterable[tuple[str, str]]", self._decoder.decode(payload)))
            if "grpc-status" in named:
                self._end(f"gRPC {named['grpc-status']}")
        elif kind == RESET:
            self._end("reset")

    def _end(self, how: str) -> None:
        self._budget.tally[how] += 1
        self.ended.set()


def message(payload: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """A message as gRPC frames it; ``length`` claims another length than it has."""
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


def bomb(megabytes: int) -> bytes:
    """So many MiB of zeros, as gzip packs them: a thousandth of that."""
    packer, zeros = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(2**20)
    # A block that refers to nothing before it can be repeated, so that gigabytes are packed at once.
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(zeros, checksum)
    ends = b"\x03\x00" + struct.pack("<II", checksum, megabytes * 2**20 % 2**32)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + block * megabytes + ends


async def hold(budget: Budget) -> None:
    """Keep what is open until the time is over."""
    await asyncio.sleep(max(budget.left, 0))


async def flood(connection: Http2, frames: Iterable[bytes], budget: Budget) -> None:
    """Send frames, many at once, until the budget or the server ends it."""
    batch = bytearray()
    for each in frames:
        batch += each
        if len(batch) >= 2**16:
            await connection.send(bytes(batch))
            batch.clear()
            if budget.is_over:
                return
    await connection.send(bytes(batch))
