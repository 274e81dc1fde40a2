"""Responses that are written in one piece equal the responses of aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from restmap_gateway.http.response import WholeResponse, plain, whole

HEADERS = {"Content-Type": "application/json", "X-Weather-Id": "wx-1", "Server": "gateway"}

made: list[web.StreamResponse] = []


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server that replies to ``/STATUS/BODY`` in one piece, or with ``?plain`` through aiohttp."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        _, status, body = request.path.split("/")
        headers = {**HEADERS, **{name: value for name, value in request.headers.items() if name == "Connection"}}
        if "plain" in request.query:
            return plain(int(status), headers, body.encode())
        made.append(whole(request, int(status), headers, body.encode()))
        return made[-1]

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
@pytest.mark.parametrize("status", [200, 400, 401, 404, 409, 503])
async def test_a_whole_response_is_that_of_aiohttp(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], status: int, body: str
) -> None:
    target = f"/{status}/{body.encode().hex()}"
    quick = await asked(connection, f"GET {target} HTTP/1.1")
    assert isinstance(made[-1], WholeResponse)
    assert quick == await asked(connection, f"GET {target}?plain HTTP/1.1")


@pytest.mark.parametrize(
    "request_line",
    ["HEAD /200/x HTTP/1.1", "GET /200/x HTTP/1.0", "GET /499/x HTTP/1.1", "GET /200/x HTTP/1.1\r\nConnection: close"],
)
async def test_what_is_out_of_the_ordinary_is_left_to_aiohttp(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request_line: str
) -> None:
    await asked(connection, request_line)
    assert not isinstance(made[-1], WholeResponse)


async def test_a_header_with_a_line_break_is_never_written() -> None:
    class Request:
        version, keep_alive, method = (1, 1), True, "GET"

    response = whole(Request(), 200, {"Allow": "GET\r\nEvil: yes"}, b"")  # type: ignore[arg-type]  # the only members that are read
    assert not isinstance(response, WholeResponse)
