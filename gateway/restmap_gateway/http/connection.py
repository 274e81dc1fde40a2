"""One HTTP connection, and how long it is waited for.

What we use of aiohttp's private members stands here and in `paced_handler` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from restmap_gateway.http.connections import Closable, Connections
from restmap_gateway.http.paced_handler import AT_ONCE_BYTES, PacedHandler

Refuse = Callable[[int, BaseException | None], web.Response]
"""Makes the response to what is no request, of the status and the exception that say why."""

_LINGER_SECONDS: Final = 1.0
"""For a client to stop sending a body that was refused; one that is cut off while it sends may miss the answer."""

_LINGER_BYTES: Final = 4 << 20

_MOST_HEADERS: Final = 4
"""Headers of the largest size that all headers of a request may be as large as."""


class HeadersTooLarge(HttpProcessingError):
    """The headers of a request have too many bytes, all together."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection is waited for, in seconds."""

    header: float
    """For the headers of a request to arrive, from the opening of the connection or their first byte."""
    idle: float
    """Between two requests, or while its client does not read on."""


class Connection(PacedHandler):
    """Waits for ever neither for a request nor for a client that does not read; refuses in our words."""

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        patience: Patience,
        header_bytes: int,
        refuse: Refuse,
        full: Callable[[], bytes],
    ) -> None:
        """Prepare.

        Args:
            server: whose connection it is.
            connections: all of that server.
            patience: how long it is waited for.
            header_bytes: that the request line and each header may have.
            refuse: makes the response to what is no request.
            full: what is written where there is no room for the connection, before it is closed.
        """
        super().__init__(server, header_bytes, patience.idle, _LINGER_SECONDS)
        self.handshake: Closable | None = None
        """What it was before it was a connection, with TLS."""
        self._connections = connections
        self._patience = patience
        self._header_bytes = header_bytes
        self._refuse = refuse
        self._full = full
        self._header_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None
        self._socket: asyncio.Transport | None = None
        """As `transport`, which aiohttp forgets as soon as it begins to close it."""
        self._unfinished = 0
        """Bytes of requests that are not whole."""
        self._kept = 0
        """Bytes of the last request, if it is large: aiohttp keeps its headers until the next one comes."""
        self._is_ahead = False
        """Whether the request that is read has been taken from the parser before it was whole."""
        self._is_parser_paused = False
        self._unread: StreamReader | None = None
        """A body that was refused, and that is read only to be thrown away."""
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        socket = cast("asyncio.Transport", transport)
        if not self._connections.opened(self, _client(socket), self.handshake):
            socket.write(self._full())
            socket.close()
            return
        # What the socket does not take pauses writing, so that an answer counts as long as it is in memory.
        socket.set_write_buffer_limits(high=1, low=0)
        self._socket = socket
        super().connection_made(transport)
        self._wait()

    def receive(self, data: bytes) -> None:
        """Wait no more for a request that is whole, and not for ever for one that has begun."""
        if self._socket is None or (self._unread is not None and not self._may_linger(len(data))):
            return
        before = self._request_count
        super(PacedHandler, self).data_received(data)  # as `PacedHandler.receive`, one call less
        if self._messages:
            self.wait_no_more()
        elif data and self._header_timer is None and self._is_idle:
            self._wait()
        if self._request_count == before:
            self._holds(self._unfinished + len(data))
            if self._is_idle and self._unfinished > _MOST_HEADERS * self._header_bytes:
                self._refuse_headers()
        else:
            head = self._unfinished + len(data)
            self._kept = head if head > AT_ONCE_BYTES else 0
            self._holds(0 if self._messages[-1][1].is_eof() else len(data))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self._connections.closed(self)
        self.forget_unread()
        self.wait_no_more()
        self._stalled_no_more()
        if self._socket is not None:
            self._socket = None
            super().connection_lost(exc)

    def pause_reading(self) -> None:
        """Read no more for now: a body is not read by its request."""
        self._is_parser_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on; aiohttp asks for that with every body, also where nothing is held back, which costs a parser's run."""
        if self._reading_paused or self._is_parser_paused or self._is_ahead or self._messages:
            self._is_parser_paused = self._is_parser_paused and not resume_parser
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        """Begin to wait for the client to read on: what it does not read is held in memory."""
        super().pause_writing()
        self._stalled_timer = asyncio.get_running_loop().call_later(self._patience.idle, self.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        self._stalled_no_more()
        super().resume_writing()

    async def taken(self) -> None:
        """Return when the socket has taken all that was written.

        Raises:
            ConnectionError: the client is gone.
        """
        await self._drain_helper()

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        if self._socket is not None:
            self._socket.abort()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - the signature is aiohttp's
        """Let a request in progress finish; after the time-out, end it."""
        # aiohttp waits that long twice, before it cancels.
        timer = asyncio.get_running_loop().call_later(timeout or 0.0, self._abandon)
        try:
            await super().shutdown(timeout)
        finally:
            timer.cancel()

    def begin(self, *, is_whole: bool) -> None:
        """The headers of a request are there; from now on aiohttp's own time-outs watch the connection."""
        self.wait_no_more()
        self._unread = None
        self._is_ahead = not is_whole

    def arrived(self) -> None:
        """A request is there as a whole, and is answered now."""
        self._fall_in()
        self._connections.is_served(self)
        if not self._messages:
            self._holds(0)

    def end(self, request: web.BaseRequest) -> None:
        """A request is answered."""
        self._connections.waits(self)
        if not self._messages:
            self._holds(0)
        if not request.content.is_eof():
            self._unread, self._unread_bytes = request.content, 0

    def wait_no_more(self) -> None:
        """Stop waiting for headers."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    @property
    def _is_idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _fall_in(self) -> None:
        # aiohttp's parser counts a request when its body is whole, and its server takes it off the count before that
        # if it is read by then: so it would count one that is no more, and wait for ever for room for another.
        if self._is_ahead and self._parser is not None:
            self._is_ahead = False
            self._parser.message_consumed()

    def _holds(self, unfinished: int) -> None:
        if unfinished or self._unfinished or self._kept:
            self._unfinished = unfinished
            self._connections.holds(self, unfinished + self._kept)

    def _may_linger(self, size: int) -> bool:
        if self._unread is None or self._unread.is_eof():
            self._unread = None
            self._fall_in()
            return True
        self._unread_bytes += size
        if self._unread_bytes > _LINGER_BYTES:
            self.abort()
            return False
        return True

    def _refuse_headers(self) -> None:
        # As aiohttp does it with what its parser finds wrong.
        error = web_protocol._ErrInfo(400, HeadersTooLarge(), "")
        self._messages.append((error, EMPTY_PAYLOAD))
        self._close = True  # nothing more is read
        if self._waiter is not None:
            self._waiter.set_result(None)

    def _stalled_no_more(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _wait(self) -> None:
        self._header_timer = asyncio.get_running_loop().call_later(self._patience.header, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _abandon(self) -> None:
        if self._task_handler is not None:
            self._task_handler.cancel()

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
        response = self._refuse(status, exc)
        response.force_close()
        return response


def _client(transport: asyncio.BaseTransport) -> str:
    """The address at the other end; empty where there is none, as for Unix sockets."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""
