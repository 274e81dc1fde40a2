"""One HTTP connection, and how long it is waited for. What we use of aiohttp's private members stands here only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from restmap_gateway.http.connections import Closable, Connections

Refuse = Callable[[int, BaseException | None], web.Response]
"""Makes the response to what is no request, of the status and the exception that say why."""

_LINGER_SECONDS: Final = 1.0
"""For a client to stop sending a body that was refused; one that is cut off while it sends may miss the answer."""

_LINGER_BYTES: Final = 4 << 20

_READ_BYTES: Final = 16 * 1024
"""Of a body that wait to be read, and sixteen times as many chunks of it."""

_AT_ONCE_BYTES: Final = 8 * 1024
"""That are read in one turn of the event loop; as chunks of a byte each they take it for some milliseconds."""

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


class Connection(RequestHandler):
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
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # aiohttp takes it for: none
            max_line_size=header_bytes,
            max_field_size=header_bytes,
            keepalive_timeout=patience.idle,
            lingering_time=_LINGER_SECONDS,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
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
        self._behind = bytearray()
        """What has come and is not read yet."""
        self._catches_up = False
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

    def data_received(self, data: bytes) -> None:
        """Read what has come, a piece in each turn of the event loop, so that other connections have theirs between."""
        if data and (self._behind or len(data) > _AT_ONCE_BYTES):
            self._behind += data
            self._pause_transport_reading()
            self._catch_up_soon()
        else:  # also what aiohttp asks for: to go on with what its parser has
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Wait no more for a request that is whole, and not for ever for one that has begun."""
        if self._socket is None or (self._unread is not None and not self._may_linger(len(data))):
            return
        before = self._request_count
        super().data_received(data)
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
            self._kept = head if head > _AT_ONCE_BYTES else 0
            self._holds(0 if self._messages[-1][1].is_eof() else len(data))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self._connections.closed(self)
        self._behind.clear()
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

    def _catch_up_soon(self) -> None:
        if not self._catches_up:
            self._catches_up = True
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        self._catches_up = False
        if self._reading_paused or self._buffer_paused:
            return  # until aiohttp resumes
        piece = bytes(self._behind[:_AT_ONCE_BYTES])
        del self._behind[:_AT_ONCE_BYTES]
        self._receive(piece)
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if self._behind:
            self._catch_up_soon()
        else:
            super()._resume_transport_reading()

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

    def take_any_method(self) -> None:
        """Have a new connection read its requests with aiohttp's slower parser, which takes every method."""
        # There is no other way in: which parser is used is settled when aiohttp is imported, for all servers alike.
        self._parser = HttpRequestParserPy(
            self,
            asyncio.get_running_loop(),
            _READ_BYTES,
            max_line_size=self._header_bytes,
            max_field_size=self._header_bytes,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=web_protocol.MAX_MSG_QUEUE_SIZE,
        )


def _client(transport: asyncio.BaseTransport) -> str:
    """The address at the other end; empty where there is none, as for Unix sockets."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""
