"""Responses as the gateway writes them: complete ones in one piece of bytes, and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from isal import isal_zlib
from multidict import CIMultiDict

from restmap_gateway.crossing.outward import add_sent
from restmap_gateway.http.connection import Connection
from restmap_gateway.http.half_closed import Early

# The version is always that of this server, whatever the client speaks (RFC 9110, 6.2).
_STATUS_LINES: Mapping[int, str] = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

_LARGE = 64 * 1024
"""Body size in bytes from which a second write is cheaper than a copy."""

_GZIP: Final = 16 + isal_zlib.MAX_WBITS
_GZIP_LEVEL: Final = 1
"""ISA-L makes the size of zlib's level 6 with this level, in a sixteenth of the time."""

_AT_ONCE: Final = 256 * 1024
"""Body size in bytes up to which compression takes no thread: about 0.15 ms."""

_CLOSE: Final = "close"


class WholeResponse(web.StreamResponse):
    """A complete response.

    It takes a third of the time of aiohttp's own response, which reads and changes a dictionary of headers at every
    step, for features that are not used here.
    """

    def __init__(self, status: int, head: bytes, body: bytes, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._pieces = [head + body] if len(body) < _LARGE else [head, body]
        self._stays_open = keep_alive

    def send(self, request: web.BaseRequest) -> None:
        """Write the response once, without waiting for the socket to take the data.

        Raises:
            ConnectionError: the client is gone.
        """
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            _send(request, piece)

    @property
    def keep_alive(self) -> bool:
        """Return whether the connection stays open."""
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the response, unless it is written already."""
        self.send(request)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the response is written already."""


class StreamedResponse(web.StreamResponse):
    """A response that is written piece by piece: in chunks, or until the connection closes for HTTP/1.0."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self._request: web.BaseRequest | None = None
        self._then = Early.NONE
        self._stays_open = False
        self._is_ended = False

    @property
    def prepared(self) -> bool:
        """Return whether the headers are written."""
        return self._request is not None

    @property
    def keep_alive(self) -> bool:
        """Return whether the connection stays open."""
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the headers, unless they are written already."""
        if self._request is None:
            self._request = request
            has_chunks = request.version >= HttpVersion11 and request.method != "HEAD"
            self._then = Early.CHUNK if has_chunks else Early.NONE
            # Without chunks only the end of the connection ends the stream (RFC 9112, 6.3).
            self._stays_open = _stays_open(request, self.headers) and request.version >= HttpVersion11
            framing = {"Transfer-Encoding": "chunked"} if has_chunks else {}
            connection = {} if self._stays_open else {"Connection": _CLOSE}
            _send(request, _head(200, _with(self.headers, framing | connection)), self._then)
        return request.writer

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece; nothing if it is empty.

        Raises:
            ConnectionError: the client is gone.
        """
        if self._request is not None and data:
            framed = b"%x\r\n%b\r\n" % (len(data), bytes(data)) if self._then is Early.CHUNK else bytes(data)
            _send(self._request, framed, self._then)

    async def write_eof(self, data: bytes = b"") -> None:
        """End the stream, unless it has ended already."""
        if self._request is not None and not self._is_ended:
            self._is_ended = True
            await self.write(data)
            if self._then is Early.CHUNK:
                _send(self._request, b"0\r\n\r\n")


def whole(request: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes) -> WholeResponse:
    """Return the response to a request with these headers and those that HTTP requires."""
    keep_alive = _stays_open(request, headers)
    is_head = request.method == "HEAD"
    added = {} if is_head and not body else {"Content-Length": str(len(body))}
    if not keep_alive:
        added["Connection"] = _CLOSE
    elif request.version < HttpVersion11:
        added["Connection"] = "keep-alive"
    return WholeResponse(status, _head(status, _with(headers, added)), b"" if is_head else body, keep_alive=keep_alive)


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> WholeResponse:
    """Return the response to an invalid request; the connection closes after it."""
    return WholeResponse(status, closing(status, headers, body), b"", keep_alive=False)


def closing(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a response that is not tied to a request and after which the connection is closed."""
    return _head(status, _with(headers, {"Content-Length": str(len(body)), "Connection": _CLOSE})) + body


async def compressed(body: bytes) -> bytes:
    """Return the body as gzip; other requests are handled while a large body is compressed."""
    if len(body) <= _AT_ONCE:
        return _gzip(body)
    return await asyncio.get_running_loop().run_in_executor(None, _gzip, body)


def with_sent(
    headers: Mapping[str, str], sent: Sequence[tuple[str, str]], stamp: Mapping[str, str]
) -> MutableMapping[str, str]:
    """Return the headers of a response, those from metadata of the server, and those of every response, in this order.

    Names of the second may repeat; none of them replaces another header.
    """
    both = CIMultiDict({**headers, **stamp})
    add_sent(both, sent)
    for name in stamp:
        both.add(name, both.pop(name))
    return both


def varying(headers: Mapping[str, str]) -> str:
    """Return the value of ``Vary`` for a response with these headers that can be gzip."""
    return ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))


def _gzip(body: bytes) -> bytes:
    return isal_zlib.compress(body, _GZIP_LEVEL, _GZIP)


def _send(request: web.BaseRequest, data: bytes, then: Early = Early.NONE) -> None:
    connection, transport = request.protocol, request.transport
    request.writer.output_size += len(data)
    if isinstance(connection, Connection):
        connection.send(data, then)
    elif transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    else:
        transport.write(data)


def _stays_open(request: web.BaseRequest, headers: Mapping[str, str]) -> bool:
    return request.keep_alive and headers.get("Connection") != _CLOSE


def _with(headers: Mapping[str, str], added: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return the headers, whose names may repeat, with others that replace those of the same name."""
    return *((name, value) for name, value in headers.items() if name not in added), *added.items()


def _head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    fields = [f"{name}: {value}" for name, value in headers]
    if not "".join(fields).isprintable():
        fields = ["".join(one if one.isprintable() else " " for one in field) for field in fields]
    line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return (line + "\r\n".join((*fields, f"Date: {_date(int(time.time()))}", "", ""))).encode()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
