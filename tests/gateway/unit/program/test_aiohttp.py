"""All that the gateway uses of aiohttp's private members; if a release changes one, its name is here."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from aiohttp.web_protocol import RequestHandler

from restmap_gateway.http.aiohttp_handler import MOST_HEADERS, AiohttpHandler, Malformed, why_malformed

GATEWAY = Path(__file__).parents[4] / "gateway" / "restmap_gateway"
THE_FILE = GATEWAY / "http" / "aiohttp_handler.py"

ATTRIBUTES = {
    "_buffer_paused": bool,
    "_close": bool,
    "_message_tail": bytes,
    "_messages": object,
    "_parser": object,
    "_reading_paused": bool,
    "_request_count": int,
    "_task_handler": type(None),
    "_waiter": type(None),
}
"""Attributes of a new handler, and their types."""

METHODS = ("_drain_helper", "_pause_transport_reading", "_resume_transport_reading")
PARSERS = {"any method": HttpRequestParserPy, "usual": HttpRequestParser}


async def handler() -> AiohttpHandler:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    return AiohttpHandler(web.Server(answer), header_bytes=8190, idle_seconds=1.0, linger_seconds=1.0)


def private_members(path: Path) -> Iterator[str]:
    """Yield each private attribute that a file uses and does not define itself."""
    tree = ast.parse(path.read_text())
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    made |= {node.attr for node in used if isinstance(node.ctx, ast.Store)}
    yield from (node.attr for node in used if node.attr not in made and not node.attr.startswith("__"))


def test_the_file_uses_just_the_members_that_are_named_here() -> None:
    own = {"_backlog", "_catches_up", "_max_header_bytes", "_is_parser_paused"}
    used = {*private_members(THE_FILE), "_close", "_parser"} - own  # it sets these two as well
    assert used == {*ATTRIBUTES, *METHODS, "_ErrInfo"} - {"_resume_transport_reading"}


@pytest.mark.parametrize("path", sorted((GATEWAY / "http").glob("*.py")), ids=lambda path: path.stem)
def test_no_other_file_uses_a_private_member(path: Path) -> None:
    if path != THE_FILE:
        others = {name for name in private_members(path) if name in {*ATTRIBUTES, *METHODS, "_ErrInfo"}}
        assert others == set()


@pytest.mark.parametrize(("name", "kind"), ATTRIBUTES.items())
async def test_a_new_handler_has_the_attribute(name: str, kind: type) -> None:
    assert isinstance(getattr(await handler(), name), kind)


@pytest.mark.parametrize("name", METHODS)
def test_the_handler_has_the_method(name: str) -> None:
    assert callable(getattr(RequestHandler, name))


async def test_a_refusal_is_made_as_aiohttp_makes_it() -> None:
    error = web_protocol._ErrInfo(400, HttpProcessingError(), "")
    assert (error.status, error.message) == (400, "")
    assert web_protocol.MAX_MSG_QUEUE_SIZE > 0


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_a_parser_counts_the_requests_that_are_not_taken(parser: type[HttpRequestParser]) -> None:
    assert callable(parser.message_consumed)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"X: " + b"x" * 9000, Malformed.LONG_LINE),
        (b"X: y\r\n" * MOST_HEADERS + b"X: y", Malformed.MANY_HEADERS),
        (b"Transfer-Encoding: gzip", Malformed.UNKNOWN_CODING),
        (b"Transfer-Encoding: chunked, gzip", Malformed.UNKNOWN_CODING),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", Malformed.UNKNOWN_CODING),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", Malformed.OTHER),
        (b"X Transfer-Encoding: y", Malformed.OTHER),
        (b"Too many headers: \x00", Malformed.OTHER),
        (b"Host: h", Malformed.OTHER),
    ],
)
@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
async def test_the_errors_of_the_parsers_are_told_apart(
    parser: type[HttpRequestParser], line: bytes, why: Malformed
) -> None:
    reading = parser(await handler(), asyncio.get_running_loop(), 1 << 14, max_headers=MOST_HEADERS)
    with pytest.raises(HttpProcessingError) as error:
        reading.feed_data(b"POST / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n{}")
    assert why_malformed(error.value) is why


def test_other_exceptions_have_no_reason() -> None:
    assert why_malformed(None) is Malformed.OTHER
    assert why_malformed(ValueError("Too many headers")) is Malformed.OTHER
