"""aiohttp's handler of a connection, which reads what has come a piece at a time."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web, web_protocol
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.web_protocol import RequestHandler

_READ_BYTES: Final = 16 * 1024
"""Of a body that wait to be read, and sixteen times as many chunks of it."""

AT_ONCE_BYTES: Final = 8 * 1024
"""That are read in one turn of the event loop; as chunks of a byte each they take it for some milliseconds."""


class PacedHandler(RequestHandler):
    """Reads a bounded piece in each turn of the event loop, so that other connections have theirs between."""

    def __init__(self, server: web.Server, header_bytes: int, idle_seconds: float, linger_seconds: float) -> None:
        """Prepare.

        Args:
            server: whose connection it is.
            header_bytes: that the request line and each header may have.
            idle_seconds: between two requests.
            linger_seconds: for a client to stop sending a body that was refused.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # aiohttp takes it for: none
            max_line_size=header_bytes,
            max_field_size=header_bytes,
            keepalive_timeout=idle_seconds,
            lingering_time=linger_seconds,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
        self._max_header_bytes = header_bytes
        self._behind = bytearray()
        """What has come and is not read yet."""
        self._catches_up = False

    def data_received(self, data: bytes) -> None:
        """Read what has come, a piece in each turn of the event loop, so that other connections have theirs between."""
        if data and (self._behind or len(data) > AT_ONCE_BYTES):
            self._behind += data
            self._pause_transport_reading()
            self._catch_up_soon()
        else:  # also what aiohttp asks for: to go on with what its parser has
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """Have aiohttp read a piece."""
        super().data_received(data)

    def forget_unread(self) -> None:
        """Drop what has come and is not read yet."""
        self._behind.clear()

    def take_any_method(self) -> None:
        """Have a new connection read its requests with aiohttp's slower parser, which takes every method."""
        # There is no other way in: which parser is used is settled when aiohttp is imported, for all servers alike.
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
        piece = bytes(self._behind[:AT_ONCE_BYTES])
        del self._behind[:AT_ONCE_BYTES]
        self.receive(piece)
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if self._behind:
            self._catch_up_soon()
        else:
            super()._resume_transport_reading()
