"""One client connection through a proxy, and the faults that a test can inject."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

CHUNK = 65536


@dataclass(slots=True)
class Loss:
    """Rule for losing requests or their replies."""

    text: bytes
    """Text in a lost request; empty means every request."""

    times: int | None
    """Remaining number of losses. None: no limit."""

    arrives: bool
    """Whether the target receives the request, so that only the reply is lost."""

    def matches(self, before: bytes, data: bytes) -> bool:
        """Return whether new data contains the text and count the loss; the text may begin in the data before."""
        begun = before[max(0, len(before) - len(self.text) + 1) :]
        if self.times == 0 or self.text not in begun + data:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(slots=True)
class NetworkFaults:
    """Faults of all connections of a proxy."""

    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0
    loss: Loss | None = None
    lost: int = 0

    def __post_init__(self) -> None:
        self.flowing.set()

    async def hold(self) -> None:
        """Wait until received data may be forwarded."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self.flowing.wait()


class ProxiedConnection:
    """Forwards data between client and target until both sides close or one side resets."""

    def __init__(self, client: socket.socket, faults: NetworkFaults) -> None:
        self._client = client
        self._writers: list[asyncio.StreamWriter] = []
        self._faults = faults
        self._is_answer_lost = False
        self._is_deaf = False
        self._is_reset = False

    async def forward_to(self, host: str, port: int) -> None:
        try:
            here = await self._opened(sock=self._client)
            await self._faults.flowing.wait()
            there = await self._opened(host=host, port=port)
            await asyncio.gather(self._forward_requests(here[0], there[1]), self._forward_answers(*there, here[1]))
        except OSError:
            self.reset()  # forward the failure of one side to the other
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        """Reset both sides, as a crash does; data not yet forwarded is lost."""
        self._is_reset = True
        for writer in self._writers:
            sock: socket.socket = writer.get_extra_info("socket")
            if sock.fileno() >= 0:  # otherwise the socket is already closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _opened(self, **where: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # noqa: ANN401 -- asyncio's
        reader, writer = await asyncio.open_connection(**where)
        self._writers.append(writer)
        if self._is_reset:  # reset while connecting
            raise ConnectionResetError
        return reader, writer

    async def _forward_requests(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        before = b""
        while data := await self._received(reader):
            if self._is_deaf:
                continue
            if not self._is_answer_lost and self._befalls(before, data):
                return
            there.write(data)
            await there.drain()
            before = (before + data)[-CHUNK:]
        if not self._is_reset and not self._is_deaf:
            there.write_eof()

    def _befalls(self, before: bytes, data: bytes) -> bool:
        """Return whether to drop a request; record whether to drop its reply."""
        loss = self._faults.loss
        if loss is None or not loss.matches(before, data):
            return False
        self._is_answer_lost = loss.arrives
        if not loss.arrives:
            self._faults.lost += 1
            self.reset()
        return not loss.arrives

    async def _forward_answers(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, here: asyncio.StreamWriter
    ) -> None:
        while data := await self._received(reader):
            if self._is_answer_lost:
                await self._lose_answers(reader, there)
                return
            here.write(data)
            await here.drain()
        if not self._is_reset:
            here.write_eof()

    async def _lose_answers(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        """Let the target finish, then reset: an immediate reset could overtake data that is not read yet."""
        self._is_deaf = True
        there.write_eof()
        while await reader.read(CHUNK):
            pass
        self._faults.lost += 1
        self.reset()

    async def _received(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next bytes once they may be forwarded; empty at the end of the stream or after a reset."""
        data = await reader.read(CHUNK)
        await self._faults.hold()
        return b"" if self._is_reset else data
