"""Servers behind a gateway that do not speak gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

from tests.support.tcp import Serve, serving


@dataclass(slots=True)
class Impostor:
    """Listening server that counts its connections."""

    address: str
    connections: int = 0
    """Connections accepted so far."""


@asynccontextmanager
async def listening(serve: Serve, address: str = "127.0.0.1:0") -> AsyncIterator[Impostor]:
    """Serve connections until the context exits."""

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        impostor.connections += 1
        await serve(reader, writer)

    impostor = Impostor(address)
    async with serving(counted, address) as impostor.address:
        yield impostor


def speaking_http1(address: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Impostor]:
    """Reply 400, as an HTTP/1.1 server does when a client sends HTTP/2."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nwhat")
        await writer.drain()

    return listening(serve, address)


def speaking_http2(status: int, content_type: str) -> AbstractAsyncContextManager[Impostor]:
    """Reply to every request like an HTTP/2 server of web pages."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.StreamEnded) and event.stream_id:
                    headers = ((":status", str(status)), ("content-type", content_type))
                    connection.send_headers(event.stream_id, headers)
                    connection.send_data(event.stream_id, b"<h1>what</h1>", end_stream=True)
            writer.write(connection.data_to_send())

    return listening(serve)


def hanging_up() -> AbstractAsyncContextManager[Impostor]:
    """Accept connections and close them at once."""

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    return listening(serve)


def silent() -> AbstractAsyncContextManager[Impostor]:
    """Accept connections and read, but never reply."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    return listening(serve)
