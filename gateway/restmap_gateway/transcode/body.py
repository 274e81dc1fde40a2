"""Reads the body of a request, with limits for its size and time."""

from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11
from aiohttp.web import BaseRequest, RequestPayloadError

from restmap_gateway.errors import InvalidRequest, RequestFailed, Violation, shortened

_CLOSE = {"Connection": "close"}
"""Closes the connection; otherwise the rest of the body would be read as the next request."""


async def read_body(request: BaseRequest, most: int, seconds: float) -> bytes:
    """Return the complete body; empty if there is none.

    Args:
        request: request whose body is read.
        most: maximum bytes.
        seconds: maximum time for the body to arrive.

    Raises:
        InvalidRequest: the body does not match its headers, or there is an expectation that cannot be met.
        RequestFailed: 400 for a body that is too large, 408 for one that does not arrive in time.
    """
    must_say_continue = _expects_continue(request)
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > most:
        raise RequestFailed(400, f"The body has {request.content_length} bytes; at most {most} are taken.", _CLOSE)
    if request.content.is_eof():
        return _arrived(request, most)
    if must_say_continue and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while chunk := await request.content.readany():
                chunks.append(chunk)
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
    except TimeoutError:
        raise RequestFailed(408, f"The body did not arrive within {seconds:g} seconds.", _CLOSE) from None
    except RequestPayloadError as error:
        raise _broken() from error
    return b"".join(chunks)


def _arrived(request: BaseRequest, most: int) -> bytes:
    """Return a body that has arrived already, as most do; no wait and no timeout are needed."""
    try:
        body = request.content.read_nowait()
    except RequestPayloadError as error:
        raise _broken() from error
    if len(body) > most:
        raise _too_large(most)
    return body


def _too_large(most: int) -> RequestFailed:
    return RequestFailed(400, f"The body has more than {most} bytes, the most that are taken.", _CLOSE)


def _broken() -> InvalidRequest:
    return InvalidRequest(Violation("", "the body is not sent as its headers say"))


def _expects_continue(request: BaseRequest) -> bool:
    expectation = request.headers.get("Expect")
    if expectation is None or request.version < HttpVersion11:
        return False
    if expectation.strip().lower() != "100-continue":
        raise InvalidRequest(Violation("Expect", f"{shortened(expectation)!r} cannot be met, only 100-continue"))
    return True
