"""HTTP/1.1 as cheap as Python can: prepared requests out, status and whole body back."""

from __future__ import annotations

import asyncio
from typing import cast

from bench.wire import Listener

_HEAD_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200"


class RestWire:
    """A connection for each slot, kept open; or, with ``close``, one for each call."""

    def __init__(self, address: str, listener: Listener, *, close: bool) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._close = close
        self._connections: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self.listener = listener

    async def open(self, slots: int) -> None:
        """Do what `Wire.open` promises."""
        while not self._close and len(self._connections) < slots:
            self._connections.append(await self._connect(len(self._connections)))

    def send(self, slot: int, request: bytes) -> None:
        """Do what `Wire.send` promises."""
        if not self._close:
            self._connections[slot].send(request)
            return
        task = asyncio.create_task(self._send_alone(slot, request))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def flush(self) -> None:
        """Nothing is held back: each request has its own connection."""

    async def _connect(self, slot: int) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self, slot), self._host, self._port)
        return connection

    async def _send_alone(self, slot: int, request: bytes) -> None:
        try:
            connection = await self._connect(slot)
        except OSError as error:
            self.listener.failed(f"cannot connect: {error}")
            return
        connection.is_for_one = True
        connection.send(request)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, wire: RestWire, slot: int) -> None:
        self._wire = wire
        self._slot = slot
        self._received = bytearray()
        self._body_at = 0
        self._end = 0
        self._is_waiting = False
        self.is_for_one = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def send(self, request: bytes) -> None:
        self._is_waiting = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._end and not self._read_head():
            return
        if len(received) < self._end:
            return
        body = bytes(received[self._body_at : self._end])
        surplus = len(received) - self._end
        received.clear()
        self._end, self._is_waiting = 0, False
        if self.is_for_one:
            self._transport.close()
        if surplus:
            self._wire.listener.failed("more was answered than asked for")
        self._wire.listener.answered(self._slot, body)

    def _read_head(self) -> bool:
        at = self._received.find(_HEAD_END)
        if at < 0:
            return False
        head = bytes(self._received[:at]).lower() + b"\r\n"
        length = head.find(b"\r\ncontent-length:")
        if not self._received.startswith(_OK) or length < 0:
            self._wire.listener.failed(f"unexpected answer: {bytes(self._received[:2000])!r}")
            return False
        self._body_at = at + len(_HEAD_END)
        self._end = self._body_at + int(head[length + 17 : head.index(b"\r\n", length + 2)])
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_waiting:
            self._wire.listener.failed(f"the connection was closed before the answer: {error}")
