"""Connections of an admin port: few, short, and each for one request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from programkit.peer import peer_of


@dataclass(frozen=True, slots=True)
class AdminLimits:
    """Limits of the connections of an admin port."""

    connections: int = 32
    """Maximum connections of accepted peers; a new one replaces the oldest."""
    refused: int = 8
    """Maximum connections of other peers, which only get a refusal; a new one replaces the oldest."""
    seconds: float = 10.0
    """Seconds after which a connection is closed, whether or not its client has sent a request or read the response."""
    received: int = 64 << 10
    """Maximum bytes that a client may send."""


class Connections:
    """The open connections of one kind of peers."""

    def __init__(self, most: int) -> None:
        """Allow ``most`` connections."""
        self._most = most
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    def opened(self, connection: Connection) -> None:
        """Register a connection, and abort the oldest one if there are too many.

        A client that is served takes milliseconds, so the oldest connection belongs to a client that is stuck.
        """
        self._open[connection] = None
        if len(self._open) > self._most:
            next(iter(self._open)).abort()

    def closed(self, connection: Connection) -> None:
        """Remove a connection."""
        self._open.pop(connection, None)


class Connection(web.RequestHandler):
    """One connection with a maximum duration, whatever its client does."""

    def __init__(
        self,
        server: web.Server,
        connections_of: Callable[[str], Connections],
        limits: AdminLimits,
        refuse: Callable[[int, BaseException | None], web.StreamResponse],
    ) -> None:
        """Create the protocol of one connection.

        Args:
            server: server that owns the connection.
            connections_of: returns the connections among which a peer with this address counts.
            limits: limits of the connection.
            refuse: makes the response to a request that could not be handled, from the status and the exception.
        """
        loop = asyncio.get_running_loop()
        no_log = cast("logging.Logger", None)  # aiohttp's type does not allow None, which turns the log off
        super().__init__(server, loop=loop, access_log=no_log, lingering_time=1.0, auto_decompress=False)
        self._connections_of = connections_of
        self._connections: Connections | None = None
        self._limits = limits
        self._refuse = refuse
        self._received = 0
        self._socket: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time of the connection."""
        self._socket = cast("asyncio.Transport", transport)
        self._end = asyncio.get_running_loop().call_later(self._limits.seconds, self.abort)
        super().connection_made(transport)
        self._connections = self._connections_of(peer_of(transport))
        self._connections.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take data unless the client has sent too much."""
        self._received += len(data)
        if self._received > self._limits.received:
            self.abort()
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the time."""
        if self._end is not None:
            self._end.cancel()
        if self._connections is not None:
            self._connections.closed(self)
        self._socket = None
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, and discard what the client has not read."""
        if self._connections is not None:
            self._connections.closed(self)
        if self._socket is not None:
            self._socket.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the response to a request that is not HTTP, or whose handler failed."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun already")
        return self._refuse(status, exc)
