"""HTTP methods that aiohttp's fast parser was not built with: ``custom`` rules may name any."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiohttp import hdrs, web_protocol
from aiohttp.http_parser import HttpRequestParserPy
from aiohttp.web import RequestHandler, RequestPayloadError


def are_all_common(methods: Collection[str]) -> bool:
    """Whether the fast parser surely takes all of them; it does not for ``*``, which stands for any."""
    return hdrs.METH_ALL.issuperset(methods)


def take_any_method(connection: RequestHandler, header_bytes: int) -> None:
    """Have a new connection read its requests with aiohttp's slower parser, which takes every method.

    Args:
        connection: that has not received anything yet.
        header_bytes: that the request line or one header may have.
    """
    # There is no other way in: which parser is used is settled when aiohttp is imported, for all servers alike.
    connection._parser = HttpRequestParserPy(
        connection,
        asyncio.get_running_loop(),
        max_line_size=header_bytes,
        max_field_size=header_bytes,
        payload_exception=RequestPayloadError,
        auto_decompress=False,
        max_msg_queue_size=web_protocol.MAX_MSG_QUEUE_SIZE,
    )
