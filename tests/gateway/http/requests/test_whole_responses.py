"""Responses that are written in one piece equal the responses of aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from restmap_gateway.http.response import whole

HEADERS = {"Content-Type": "application/json", "X-Weather-Id": "wx-1", "Server": "gateway"}


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server that replies to ``/STATUS/BODY`` in one piece, or with ``?plain`` through aiohttp."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        _, status, body = request.path.split("/")
        headers = {**HEADERS, **{name: value for name, value in request.headers.items() if name == "Connection"}}
        if "plain" in request.query:
            response = web.Response(status=int(status), body=body.encode() or None, headers=headers)
            if headers.get("Connection") == "close":
                response.force_close()
            return response
        odd = {"X-Odd": "a\r\nEvil: é"} if body == "break" else {}
        return whole(request, int(status), {**headers, **odd}, body.encode())

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    yield reader, writer
    writer.close()
    await runner.cleanup()


async def asked(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: str
) -> tuple[bytes, set[bytes], bytes]:
    """Send a request; return status line, headers except Date, and body."""
    reader, writer = connection
    writer.write(f"{request}\r\nHost: here\r\n\r\n".encode())
    status, *headers = (await reader.readuntil(b"\r\n\r\n")).strip().split(b"\r\n")
    length = next((int(line.split()[1]) for line in headers if line.startswith(b"Content-Length: ")), 0)
    body = b"" if request.startswith("HEAD") else await reader.readexactly(length)
    return status, {line for line in headers if not line.startswith(b"Date: ")}, body


@pytest.mark.parametrize("body", ["", "{}", "é"])
@pytest.mark.parametrize("status", [200, 400, 401, 404, 409, 499, 503, 599])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_whole_response_is_that_of_aiohttp(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], method: str, status: int, body: str
) -> None:
    target = f"/{status}/{body.encode().hex()}"
    quick = await asked(connection, f"{method} {target} HTTP/1.1")
    assert quick == await asked(connection, f"{method} {target}?plain HTTP/1.1")


async def test_a_response_says_that_it_is_the_last(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    status, headers, body = await asked(connection, "GET /200/x HTTP/1.1\r\nConnection: close")
    assert (status, body) == (b"HTTP/1.1 200 OK", b"x")
    assert b"Connection: close" in headers
    assert await connection[0].read() == b""


async def test_a_client_of_http_1_0_is_told_whether_to_go_on(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    status, headers, _ = await asked(connection, "GET /200/x HTTP/1.0\r\nConnection: keep-alive")
    assert status == b"HTTP/1.1 200 OK"
    assert b"Connection: keep-alive" in headers
    _, headers, _ = await asked(connection, "GET /200/x HTTP/1.0")
    assert b"Connection: close" in headers


async def test_a_line_break_in_a_header_is_written_as_blanks(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    status, headers, _ = await asked(connection, "GET /200/break HTTP/1.1")
    assert status == b"HTTP/1.1 200 OK"
    assert "X-Odd: a  Evil: é".encode() in headers
