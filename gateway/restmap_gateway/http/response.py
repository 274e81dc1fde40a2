"""Complete responses, each written as one piece of bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping, MutableMapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from restmap_gateway.crossing.outward import add_sent

_STATUS_LINES: Mapping[int, str] = {status: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

_LARGE = 64 * 1024
"""Body size in bytes from which a second write is cheaper than a copy."""


class WholeResponse(web.StreamResponse):
    """A response to an HTTP/1.1 request that leaves the connection open.

    It takes a third of the time of aiohttp's own response, which reads and changes a dictionary of headers at every
    step, for features that are not used here.
    """

    def __init__(self, status: int, head: str, body: bytes) -> None:
        super().__init__(status=status)
        self._pieces = [head.encode("ascii") + body] if len(body) < _LARGE else [head.encode("ascii"), body]

    def send(self, request: web.BaseRequest) -> None:
        """Write the response once, without waiting for the socket to take the data.

        Raises:
            ConnectionError: the client is gone.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            request.writer.output_size += len(piece)
            transport.write(piece)

    @property
    def keep_alive(self) -> bool:
        """Return True: the connection always stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the response, unless it is written already."""
        if self._pieces:
            self.send(request)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the response is written already."""


def whole(request: web.BaseRequest, status: int, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
    """Return a response with these headers and those that HTTP requires; a fast one if the connection stays open."""
    is_usual = status in _STATUS_LINES and request.method not in ("HEAD", "CONNECT")
    if not is_usual or request.version != HttpVersion11 or not request.keep_alive:
        return plain(status, headers, body)
    fields = [f"{name}: {value}" for name, value in headers.items()]
    text = "".join(fields)
    if "Connection" in headers or not (text.isascii() and text.isprintable()):
        return plain(status, headers, body)  # aiohttp encodes other characters
    date = _date(int(time.time()))
    head = "\r\n".join((*fields, f"Content-Length: {len(body)}", f"Date: {date}", "", ""))
    return WholeResponse(status, _STATUS_LINES[status] + head, body)


def plain(status: int, headers: Mapping[str, str], body: bytes) -> web.Response:
    """Return aiohttp's response with these headers; it closes the connection if they say so."""
    response = web.Response(status=status, body=body or None, headers=headers)
    if headers.get("Connection") == "close":
        response.force_close()
    return response


def compressed(status: int, headers: Mapping[str, str], body: bytes) -> web.Response:
    """Return a response with these headers and a gzip body."""
    response = plain(status, headers, body)
    response.headers["Vary"] = varying(headers)
    response.enable_compression(web.ContentCoding.gzip)
    return response


def with_sent(headers: Mapping[str, str], sent: Sequence[tuple[str, str]]) -> MutableMapping[str, str]:
    """Return the headers of a response and those from metadata of the server; names may repeat."""
    both = CIMultiDict(headers)
    add_sent(both, sent)
    return both


def varying(headers: Mapping[str, str]) -> str:
    """Return the value of ``Vary`` for a response with these headers that can be gzip."""
    return ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))


def closing(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a response that is not tied to a request and after which the connection is closed."""
    fields = [f"{name}: {value}" for name, value in headers.items()]
    date = _date(int(time.time()))
    head = "\r\n".join((*fields, f"Content-Length: {len(body)}", f"Date: {date}", "Connection: close", "", ""))
    return (_STATUS_LINES[status] + head).encode() + body


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
