"""A TLS handshake: until it is over, there is no HTTP connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from gateway.connection import Connection, client_of
from gateway.connections import Connections

_CLOSE_SECONDS: Final = 1.0
"""For a client to say that it closes too."""


class Handshake(asyncio.Protocol):
    """Takes up a TCP connection, and makes it an HTTP connection once TLS is spoken on it.

    Until then it counts as any other that waits: whoever does not go on with the handshake is closed in time, and
    makes room for others.
    """

    def __init__(
        self,
        connections: Connections,
        make_connection: Callable[[], Connection],
        context: ssl.SSLContext,
        seconds: float,
    ) -> None:
        """Prepare; the handshake may take so many seconds."""
        self._connections = connections
        self._make_connection = make_connection
        self._context = context
        self._seconds = seconds
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._connections.opened(self, client_of(transport)):
            self._transport.abort()
            return
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._task = asyncio.get_running_loop().create_task(self._shake_hands(self._transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._connections.closed(self)

    def abort(self) -> None:
        """Close at once."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        connection = self._make_connection()
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport,
                connection,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=_CLOSE_SECONDS,
            )
        except (OSError, asyncio.CancelledError):  # also what is wrong with TLS, and a time-out
            encrypted = None
        self._connections.closed(self)
        self._task = None
        if encrypted is None:
            transport.abort()
        else:
            connection.connection_made(encrypted)
