"""One client's connection through a proxy, and what may befall it."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

CHUNK = 65536


@dataclass(slots=True)
class Loss:
    """Which requests are lost, or the answers to which."""

    text: bytes
    """That is in them; empty for all."""

    times: int | None
    """How many more; None for all."""

    arrives: bool
    """Whether the target gets them, and so only the answer is lost."""

    def befalls(self, before: bytes, data: bytes) -> bool:
        """Whether it does data of a client that come after others; the text may be in the middle of both."""
        begun = before[max(0, len(before) - len(self.text) + 1) :]
        if self.times == 0 or self.text not in begun + data:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(slots=True)
class Weather:
    """What befalls all connections of a proxy."""

    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0
    loss: Loss | None = None
    lost: int = 0

    def __post_init__(self) -> None:
        self.flowing.set()

    async def hold(self) -> None:
        """Return when what was received may be forwarded."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self.flowing.wait()


class Link:
    """Forwards between a client and a target until both have closed, or one of them resets."""

    def __init__(self, client: socket.socket, weather: Weather) -> None:
        self._client = client
        self._writers: list[asyncio.StreamWriter] = []
        self._weather = weather
        self._is_answer_lost = False
        self._is_deaf = False
        self._is_reset = False

    async def forward_to(self, host: str, port: int) -> None:
        try:
            here = await self._opened(sock=self._client)
            await self._weather.flowing.wait()
            there = await self._opened(host=host, port=port)
            await asyncio.gather(self._forward_requests(here[0], there[1]), self._forward_answers(*there, here[1]))
        except OSError:
            self.reset()  # what befell one side is passed on to the other
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        """Reset both sides, as a crash does: what was not forwarded yet never is."""
        self._is_reset = True
        for writer in self._writers:
            sock: socket.socket = writer.get_extra_info("socket")
            if sock.fileno() >= 0:  # else it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _opened(self, **where: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # noqa: ANN401 -- asyncio's
        reader, writer = await asyncio.open_connection(**where)
        self._writers.append(writer)
        if self._is_reset:  # meanwhile
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
        """Whether a request is not to be forwarded; notes if its answer is not to be."""
        loss = self._weather.loss
        if loss is None or not loss.befalls(before, data):
            return False
        self._is_answer_lost = loss.arrives
        if not loss.arrives:
            self._weather.lost += 1
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
        """Let the target finish, and then reset: a reset now could overtake what the target has not read yet."""
        self._is_deaf = True
        there.write_eof()
        while await reader.read(CHUNK):
            pass
        self._weather.lost += 1
        self.reset()

    async def _received(self, reader: asyncio.StreamReader) -> bytes:
        """The next bytes, when they may be forwarded; empty at the end, and after a reset."""
        data = await reader.read(CHUNK)
        await self._weather.hold()
        return b"" if self._is_reset else data
