"""Accepts TLS connections; an HTTP connection is created only after the handshake.

asyncio's listeners do not report a connection before its handshake is complete. Here the connection counts as idle from
its acceptance, so that a stalled handshake is closed in time and makes room for others.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from restmap_gateway.http.connection import Connection
from restmap_gateway.http.connections import Connections

_CLOSE_SECONDS: Final = 1.0
"""Seconds for a client to close TLS too."""

_BACKLOG: Final = 128
_AT_ONCE: Final = 16
"""Connections accepted in one turn of the event loop."""

_PAUSE_SECONDS: Final = 0.1
"""Seconds until the next attempt when the process is out of file descriptors."""


class TlsListener:
    """Listens on all addresses of a host."""

    def __init__(
        self,
        connections: Connections,
        make_connection: Callable[[], Connection],
        context: ssl.SSLContext,
        handshake_seconds: float,
    ) -> None:
        """Create the listener.

        Args:
            connections: client connections.
            make_connection: makes the protocol of one connection.
            context: TLS context with the gateway's certificate.
            handshake_seconds: maximum time for a handshake.
        """
        self._connections = connections
        self._make_connection = make_connection
        self._context = context
        self._handshake_seconds = handshake_seconds
        self._sockets: list[socket.socket] = []
        self._handshakes: set[_Handshake] = set()

    async def start(self, host: str, port: int) -> None:
        """Start to accept connections.

        Raises:
            OSError: the host is unknown, or the address is in use or not local.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
            listening.setblocking(False)
            self._sockets.append(listening)
            loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Stop accepting and abort the handshakes in progress."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()
        for handshake in list(self._handshakes):
            handshake.abort()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of file descriptors or memory
                self._pause(listening)
                return
            accepted.setblocking(False)
            handshake = _Handshake(accepted)
            if self._connections.opened(handshake, str(address[0])):
                self._handshakes.add(handshake)
                handshake.begin(self._shake_hands(handshake), self._ended)
            else:
                accepted.close()

    def _pause(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._connections.make_room()
        loop.call_later(_PAUSE_SECONDS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def _shake_hands(self, handshake: _Handshake) -> None:
        handshake.has_begun = True
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._succeeding(handshake),
                handshake.socket,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=_CLOSE_SECONDS,
            )
        except OSError:
            handshake.socket.close()  # TLS errors and timeouts are OSErrors too
        except Exception:
            handshake.socket.close()  # asyncio does not, if there is no transport yet
            raise

    def _ended(self, handshake: _Handshake) -> None:
        # Not in `_shake_hands`: a task that is cancelled before its first step runs no line of its coroutine.
        if not handshake.has_begun:
            handshake.socket.close()
        self._handshakes.discard(handshake)
        self._connections.closed(handshake)

    def _succeeding(self, handshake: _Handshake) -> Connection:
        connection = self._make_connection()
        connection.handshake = handshake
        return connection


class _Handshake:
    """A connection whose TLS handshake is not complete."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.has_begun = False
        """Whether asyncio has the socket, and closes it."""
        self._task: asyncio.Task[None] | None = None

    def begin(self, shaking: Coroutine[Any, Any, None], ended: Callable[[_Handshake], None]) -> None:
        """Start the handshake; call ``ended`` at its end, also after `abort`."""
        self._task = asyncio.get_running_loop().create_task(shaking)
        self._task.add_done_callback(lambda _: ended(self))

    def abort(self) -> None:
        """Close at once."""
        if self._task is not None:
            self._task.cancel()
