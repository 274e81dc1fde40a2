"""What was written to clients that have not taken it yet: their connections hold it in memory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp.web import BaseRequest

from programkit.sparing import Sparing
from restmap_gateway.errors import RequestFailed
from restmap_gateway.http.connection import Connection

LARGE: Final = 16 * 1024
"""Bytes from which an answer counts before it is written; a smaller one only if its client does not take it at once."""

_PATIENCE: Final = 1.0
"""Seconds that any client has to take an answer, however much waits for others."""


class Unwritten:
    """Counts the bytes of answers until they are handed to the socket, and keeps them within a limit.

    Beyond it connections are closed whose clients have not taken an answer for a second, and then requests are
    refused.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep within so many bytes, of all connections together."""
        self._most_bytes = most_bytes
        self._clock = clock
        self._bytes = 0
        self._writing: dict[Connection, tuple[int, float]] = {}
        """Bytes, and since when, the oldest first."""
        self._log = Sparing("restmap_gateway.http.connections", burst=20, per_second=1.0)

    def check_room(self, size: int = 0) -> None:
        """Return if an answer of so many bytes may be written, or of any size.

        Raises:
            RequestFailed: 503.
        """
        if not self._has_room(size):
            raise RequestFailed(503, "More answers wait to be read than this gateway holds; try again later.")

    async def write(self, request: BaseRequest, size: int, writing: Awaitable[object]) -> None:
        """Write an answer, or a piece of one, of so many bytes; returns when it is handed to the socket.

        Raises:
            ConnectionError: the client is gone, or was closed as it does not read.
        """
        connection = request.protocol
        if not isinstance(connection, Connection):
            await writing
            return
        try:
            if size >= LARGE:
                self._has_room(size)
                self._count(connection, size)
            await writing
            if connection.writing_paused:
                self._count(connection, size)
                await connection.taken()
        finally:
            self._forget(connection)

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may wait; makes room at the cost of who reads slowly."""
        if self._bytes + size <= self._most_bytes:
            return True
        patient_until = self._clock() - _PATIENCE
        for connection, (_, since) in list(self._writing.items()):
            if since > patient_until or self._bytes + size <= self._most_bytes:
                break
            self._forget(connection)
            connection.abort()
            self._log.warning("connection closed", why="its client does not read, and others wait")
        return self._bytes + size <= self._most_bytes or not self._writing

    def _count(self, connection: Connection, size: int) -> None:
        if connection not in self._writing:
            self._writing[connection] = (size, self._clock())
            self._bytes += size

    def _forget(self, connection: Connection) -> None:
        size, _ = self._writing.pop(connection, (0, 0.0))
        self._bytes -= size
