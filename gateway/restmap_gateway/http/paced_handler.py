"""aiohttp's connection handler, changed to read received data in limited pieces."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web, web_protocol
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.web_protocol import RequestHandler

_READ_BYTES: Final = 16 * 1024
"""Maximum unread bytes of a body; the maximum number of chunks is sixteen times as high."""

AT_ONCE_BYTES: Final = 8 * 1024
"""Bytes read in one turn of the event loop; one-byte chunks of this total take some milliseconds."""


class PacedHandler(RequestHandler):
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
            keepalive_timeout=idle_seconds,
            lingering_time=linger_seconds,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
        self._max_header_bytes = header_bytes
        self._backlog = bytearray()
        """Received bytes that are not read yet."""
        self._catches_up = False

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
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=web_protocol.MAX_MSG_QUEUE_SIZE,
        )

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
