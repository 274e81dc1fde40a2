"""Written response bytes that clients have not read yet; their connections hold these bytes in memory."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp.web import BaseRequest

from programkit.rate_limited_log import RateLimitedLog
from restmap_gateway.errors import Overload, Overloaded
from restmap_gateway.http.connection import Connection

LARGE: Final = 16 * 1024
"""Bytes from which a response counts before it is written; a smaller one counts if the socket does not take it all."""

_PATIENCE: Final = 1.0
"""Seconds that every client has to read a response, even above the limit."""


class Unwritten:
    """Counts response bytes until they are handed to the socket, and keeps the total below a limit.

    Above the limit, connections whose clients have not read a response for a second are closed; then requests are
    refused.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the maximum of unread bytes over all connections."""
        self._most_bytes = most_bytes
        self._clock = clock
        self._bytes = 0
        self._writing: dict[Connection, tuple[int, float]] = {}
        """Bytes and start time by connection, the oldest first."""
        self._log = RateLimitedLog("restmap_gateway.http.connections", burst=20, per_second=1.0)

    def check_room(self, size: int = 0) -> None:
        """Return if a response of this many bytes (0: of any size) may be written.

        Raises:
            Overloaded: 503.
        """
        if not self._has_room(size):
            message = "More answers wait to be read than this gateway holds; try again later."
            raise Overloaded(Overload.UNREAD, message)

    async def write(self, request: BaseRequest, size: int, writing: Awaitable[object]) -> None:
        """Write a response, or a piece of one, of this many bytes; return when it is handed to the socket.

        Raises:
            ConnectionError: the client is gone, or its connection was closed because it does not read.
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
        """Return whether this many more bytes fit; first close connections of slow clients if necessary."""
        if self._bytes + size <= self._most_bytes:
            return True
        patient_until = self._clock() - _PATIENCE
        for connection, (_, since) in list(self._writing.items()):
            if since > patient_until or self._bytes + size <= self._most_bytes:
                break
            self._forget(connection)
            connection.abort()
            self._log.warning(
                "connection closed", why="unread responses hold too many bytes and this client does not read"
            )
        return self._bytes + size <= self._most_bytes or not self._writing

    def _count(self, connection: Connection, size: int) -> None:
        if connection not in self._writing:
            self._writing[connection] = (size, self._clock())
            self._bytes += size

    def _forget(self, connection: Connection) -> None:
        size, _ = self._writing.pop(connection, (0, 0.0))
        self._bytes -= size
