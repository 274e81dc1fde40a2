"""aiohttp's connection handler, and all that the gateway uses of aiohttp's private members.

A release of aiohttp may change these members without notice, so no other file uses them, and a test names each.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import Final

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

MOST_HEADERS: Final = 128
"""Maximum header lines of a request."""

AT_ONCE_BYTES: Final = 8 * 1024
"""Bytes read in one turn of the event loop; one-byte chunks of this total take some milliseconds."""

_READ_BYTES: Final = 16 * 1024
"""Maximum unread bytes of a body; the maximum number of chunks is sixteen times as high."""

_CODING_ERRORS: Final = (
    "Request has invalid `Transfer-Encoding`",
    "Invalid `Transfer-Encoding`",
    "Duplicate 'Transfer-Encoding'",
)
"""Beginnings of the errors for anything but one ``chunked``."""

_OTHER_LINES: Final = 2
"""The request line and the empty line, which aiohttp's slower parser counts as header lines."""


class Malformed(Enum):
    """Why the parser refuses a request."""

    LONG_LINE = auto()
    """The request line, or a header, has too many bytes."""
    MANY_HEADERS = auto()
    """There are more than `MOST_HEADERS` headers."""
    UNKNOWN_CODING = auto()
    """``Transfer-Encoding`` is anything but one ``chunked``."""
    OTHER = auto()


def why_malformed(error: BaseException | None) -> Malformed:
    """Return the reason in an error of aiohttp's parsers, which have classes for some of them only."""
    if isinstance(error, LineTooLong):
        return Malformed.LONG_LINE
    if not isinstance(error, HttpProcessingError):
        return Malformed.OTHER
    # Only the beginning is aiohttp's own text; what follows may quote the request.
    message = error.message.strip()
    if message.startswith("Too many headers"):
        return Malformed.MANY_HEADERS
    return Malformed.UNKNOWN_CODING if message.startswith(_CODING_ERRORS) else Malformed.OTHER


class AiohttpHandler(RequestHandler):
    """Reads a limited piece in each turn of the event loop, so that other connections are not blocked."""

    def __init__(self, server: web.Server, header_bytes: int, idle_seconds: float, linger_seconds: float) -> None:
        """Create the handler of one connection.

        Args:
            server: server that owns the connection.
            header_bytes: maximum bytes of the request line and of each header.
            idle_seconds: maximum time between two requests.
            linger_seconds: time for a client to stop sending a refused body.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # aiohttp accepts None: no access log
            max_line_size=header_bytes,
            max_field_size=header_bytes,
            max_headers=MOST_HEADERS,
            keepalive_timeout=idle_seconds,
            lingering_time=linger_seconds,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
        self._max_header_bytes = header_bytes
        self._backlog = bytearray()
        """Received bytes that are not read yet."""
        self._catches_up = False
        self._is_parser_paused = False

    @property
    def request_count(self) -> int:
        """Return the number of requests that have begun, including invalid ones."""
        return self._request_count

    @property
    def is_idle(self) -> bool:
        """Return whether the connection waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def has_requests(self) -> bool:
        """Return whether parsed requests wait for the end of the current one."""
        return bool(self._messages)

    @property
    def has_unparsed(self) -> bool:
        """Return whether received bytes wait to be parsed: for their turn, or behind a declined upgrade."""
        return bool(self._backlog or self._message_tail)

    @property
    def newest_body(self) -> StreamReader:
        """Return the body of the newest request that waits; there must be one."""
        return self._messages[-1][1]

    def data_received(self, data: bytes) -> None:
        """Read received data, one piece in each turn of the event loop, so that other connections are not blocked."""
        if data and (self._backlog or len(data) > AT_ONCE_BYTES):
            self._backlog += data
            self._pause_transport_reading()
            self._catch_up_soon()
        else:  # also the call with which aiohttp resumes its parser
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """Pass a piece to aiohttp."""
        super().data_received(data)

    def pause_reading(self) -> None:
        """Pause reading: the handler of the request does not read its body."""
        self._is_parser_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading if it was paused."""
        if self._reading_paused or self._is_parser_paused or self.must_resume:
            self._is_parser_paused = self._is_parser_paused and not resume_parser
            super().resume_reading(resume_parser)

    @property
    def must_resume(self) -> bool:
        """Return whether to resume reading although it was not paused: aiohttp asks for every body, at the cost of a
        parser run."""
        return bool(self._messages)

    def forget_unread(self) -> None:
        """Discard received data that is not read yet."""
        self._backlog.clear()

    def take_any_method(self) -> None:
        """Use aiohttp's slower parser, which accepts every method, for a new connection."""
        # There is no other way: aiohttp chooses the parser at import, for all servers.
        self._parser = HttpRequestParserPy(
            self,
            asyncio.get_running_loop(),
            _READ_BYTES,
            max_line_size=self._max_header_bytes,
            max_field_size=self._max_header_bytes,
            max_headers=MOST_HEADERS + _OTHER_LINES,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=web_protocol.MAX_MSG_QUEUE_SIZE,
        )

    def free_parser_slot(self) -> None:
        """Count one request less in the parser, which pauses when it holds too many."""
        if self._parser is not None:
            self._parser.message_consumed()

    def refuse_next(self, error: HttpProcessingError) -> None:
        """Refuse the request that is arriving, as aiohttp does after an error of its parser, and read no more."""
        self._messages.append((web_protocol._ErrInfo(400, error, ""), EMPTY_PAYLOAD))
        self._close = True
        if self._waiter is not None:
            self._waiter.set_result(None)

    def cancel_request(self) -> None:
        """Cancel the handling of requests."""
        if self._task_handler is not None:
            self._task_handler.cancel()

    async def taken(self) -> None:
        """Return when the socket has taken all written data.

        Raises:
            ConnectionError: the client is gone.
        """
        await self._drain_helper()

    def _catch_up_soon(self) -> None:
        if not self._catches_up:
            self._catches_up = True
            asyncio.get_running_loop().call_soon(self._catch_up)

    def _catch_up(self) -> None:
        self._catches_up = False
        if self._reading_paused or self._buffer_paused:
            return  # until aiohttp resumes
        piece = bytes(self._backlog[:AT_ONCE_BYTES])
        del self._backlog[:AT_ONCE_BYTES]
        self.receive(piece)
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if self._backlog:
            self._catch_up_soon()
        else:
            super()._resume_transport_reading()
