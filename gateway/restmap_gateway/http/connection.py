"""One HTTP connection and its timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from programkit.peer import peer_of
from restmap_gateway.http.aiohttp_handler import AT_ONCE_BYTES, AiohttpHandler
from restmap_gateway.http.connections import Closable, Connections
from restmap_gateway.http.half_closed import Early, HalfClosed

Refuse = Callable[[int, BaseException | None], web.StreamResponse]
"""Makes the response to an invalid request from the status and the exception; the response closes the connection."""

_LINGER_SECONDS: Final = 1.0
"""Seconds for a client to stop sending a refused body; a client cut off while it sends may miss the response."""

_LINGER_BYTES: Final = 4 << 20

_HEADS: Final = 4
"""Maximum total size of a request's headers, in multiples of the maximum size of one header."""


class HeadersTooLarge(HttpProcessingError):
    """The headers of a request together have too many bytes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts of a connection, in seconds."""

    header: float
    """Maximum time for the headers of a request, from the opening of the connection or from their first byte."""
    idle: float
    """Maximum time between two requests, or while the client does not read."""


class Connection(AiohttpHandler):
    """Limits the wait for requests and for slow clients; refuses invalid requests with the gateway's failures."""

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        patience: Patience,
        header_bytes: int,
        refuse: Refuse,
        full: Callable[[], bytes],
    ) -> None:
        """Create the protocol of one connection.

        Args:
            server: server that owns the connection.
            connections: all connections of the server.
            patience: timeouts of the connection.
            header_bytes: maximum bytes of the request line and of each header.
            refuse: makes the response to an invalid request.
            full: makes the response that is written before the connection is closed because the limit is reached.
        """
        super().__init__(server, header_bytes, patience.idle, _LINGER_SECONDS)
        self.handshake: Closable | None = None
        """The TLS handshake that this connection comes from; None without TLS."""
        self._connections = connections
        self._patience = patience
        self._header_bytes = header_bytes
        self._refuse = refuse
        self._full = full
        self._header_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None
        self._socket: asyncio.Transport | None = None
        """Same as `transport`, which aiohttp resets as soon as it begins to close the connection."""
        self._unfinished = 0
        """Bytes of incomplete requests."""
        self._kept = 0
        """Bytes of the last request if it is large: aiohttp keeps its headers until the next request arrives."""
        self._is_ahead = False
        """Whether aiohttp took the current request from the parser before its body was complete."""
        self._newest_body: StreamReader | None = None
        """Body of the newest request."""
        self._ended = 0
        """Number of requests that have their response."""
        self._early = Early.NONE
        self._half_closed: HalfClosed | None = None
        """Not None: the client has closed its sending side after a complete request."""
        self._unread: StreamReader | None = None
        """A refused body that is read only to be discarded."""
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout for the first request."""
        socket = cast("asyncio.Transport", transport)
        if not self._connections.opened(self, peer_of(socket), self.handshake):
            socket.write(self._full())
            socket.close()
            return
        # Pause writing as soon as the socket does not take all data: a response counts as unread while it is in memory.
        socket.set_write_buffer_limits(high=1, low=0)
        self._socket = socket
        super().connection_made(transport)
        self._wait()

    def receive(self, data: bytes) -> None:
        """Stop the header timeout if a request is complete; start it if one has begun."""
        if self._socket is None or (self._unread is not None and not self._may_linger(len(data))):
            return
        before = self.request_count
        super(AiohttpHandler, self).data_received(data)  # as `AiohttpHandler.receive`, with one call less
        if self.has_requests:
            self.wait_no_more()
        elif data and self._header_timer is None and self.is_idle:
            self._wait()
        if self.request_count == before:
            self._set_unfinished(self._unfinished + len(data))
            if self.is_idle and self._unfinished > _HEADS * self._header_bytes:
                self.refuse_next(HeadersTooLarge())
        else:
            head = self._unfinished + len(data)
            self._kept = head if head > AT_ONCE_BYTES else 0
            self._newest_body = self.newest_body
            self._set_unfinished(0 if self._newest_body.is_eof() else len(data))

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio has it; aiohttp never keeps a connection
        """Keep the connection open if the client has only closed its sending side, and waits for responses."""
        # TLS cannot be half closed: asyncio's and uvloop's TLS end both directions.
        is_served = self.request_count > self._ended and self._newest_body is not None and self._newest_body.is_eof()
        if self._socket is None or self.handshake is not None or not is_served:
            return False
        if self._half_closed is None:
            self._half_closed = HalfClosed(self._socket.write)
            self._half_closed.expect(self._early, at_once=True)
        return True

    def send(self, data: bytes, then: Early = Early.NONE) -> None:
        """Write data of a response without waiting for the socket to take it; ``then`` tells what follows.

        Raises:
            ConnectionError: the client is gone.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._early = then
        if self._half_closed is None:
            transport.write(data)
            return
        transport.write(self._half_closed.remainder(data))
        self._half_closed.expect(then)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel all timeouts."""
        self._connections.closed(self)
        if self._half_closed is not None:
            self._half_closed.stop()
        self.forget_unread()
        self.wait_no_more()
        self._stalled_no_more()
        if self._socket is not None:
            self._socket = None
            super().connection_lost(exc)

    @property
    def must_resume(self) -> bool:
        """Return whether a request waits, or was taken before its body was complete."""
        return self._is_ahead or self.has_requests

    def pause_writing(self) -> None:
        """Start the timeout for the client to read: unread data is held in memory."""
        super().pause_writing()
        self._stalled_timer = asyncio.get_running_loop().call_later(self._patience.idle, self.abort)

    def resume_writing(self) -> None:
        """Cancel the timeout for the client to read."""
        self._stalled_no_more()
        super().resume_writing()

    def abort(self) -> None:
        """Close at once and discard unwritten data."""
        if self._socket is not None:
            self._socket.abort()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - the signature is aiohttp's
        """Let a request in progress finish; cancel it after the timeout."""
        # aiohttp waits for the timeout twice before it cancels the request.
        timer = asyncio.get_running_loop().call_later(timeout or 0.0, self.cancel_request)
        try:
            await super().shutdown(timeout)
        finally:
            timer.cancel()

    def begin(self, *, is_whole: bool) -> None:
        """Note that the headers of a request are complete; from now on aiohttp's own timeouts apply."""
        self.wait_no_more()
        self._unread = None
        self._is_ahead = not is_whole
        self._early = Early.STATUS_LINE
        if self._half_closed is not None:
            self._half_closed.expect(self._early)

    def arrived(self) -> None:
        """Note that a request is complete and being handled."""
        self._correct_parser_count()
        self._connections.is_served(self)
        if not self.has_requests:
            self._set_unfinished(0)

    def end(self, request: web.BaseRequest) -> None:
        """Note that a request has its response."""
        self._ended += 1
        self._connections.waits(self)
        if not self.has_requests:
            self._set_unfinished(0)
        if not request.content.is_eof():
            self._unread, self._unread_bytes = request.content, 0
        if self._half_closed is not None and not self.has_requests and not self.has_unparsed:
            self.close()

    def wait_no_more(self) -> None:
        """Cancel the header timeout."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _correct_parser_count(self) -> None:
        # aiohttp's parser counts a request when its body is complete, but aiohttp's server decrements the count when it
        # takes the request, which can be earlier. Without this call the count would stay too high and the parser would
        # wait for ever for room for another request.
        if self._is_ahead:
            self._is_ahead = False
            self.free_parser_slot()

    def _set_unfinished(self, unfinished: int) -> None:
        if unfinished or self._unfinished or self._kept:
            self._unfinished = unfinished
            self._connections.holds(self, unfinished + self._kept)

    def _may_linger(self, size: int) -> bool:
        if self._unread is None or self._unread.is_eof():
            self._unread = None
            self._correct_parser_count()
            return True
        self._unread_bytes += size
        if self._unread_bytes > _LINGER_BYTES:
            self.abort()
            return False
        return True

    def _stalled_no_more(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _wait(self) -> None:
        self._header_timer = asyncio.get_running_loop().call_later(self._patience.header, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the response; the connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun already")
        return self._refuse(status, exc)
