"""TLS connections that end before their handshake begins: their sockets are closed, and nobody is counted."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable
from typing import cast

import pytest

from restmap_gateway.http.connection import Connection
from restmap_gateway.http.connections import ConnectionLimits, Connections
from restmap_gateway.http.tls_listener import TlsListener
from tests.support.ports import free_port
from tests.support.programs import PATIENCE

TURNS = 5
"""Turns of the event loop in which a listener accepts a connection and begins its handshake, and some more."""


class Unconnected(asyncio.Protocol):
    """The connection that asyncio has while the handshake is not complete."""

    handshake: object = None


def connection() -> Connection:
    return cast("Connection", Unconnected())


async def listening(
    connections: Connections, make_connection: Callable[[], Connection] = connection
) -> tuple[TlsListener, int]:
    """Return a listener without a certificate, and its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listener, port = TlsListener(connections, make_connection, context, handshake_seconds=600.0), free_port()
    await listener.start("127.0.0.1", port)
    return listener, port


async def is_closed(client: socket.socket) -> bool:
    """Return whether the other side has closed a connection; wait for it."""
    client.setblocking(False)
    try:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().sock_recv(client, 1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_connection_accepted_at_the_stop_is_closed(turns: int) -> None:
    connections = Connections(ConnectionLimits(10, 0, 1000))
    listener, port = await listening(connections)
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        listener.close()
        assert await is_closed(client)
        gc.collect()  # an unclosed socket is a warning, and so fails the test


async def test_a_connection_that_makes_room_at_once_is_closed() -> None:
    connections = Connections(ConnectionLimits(1, 0, 1000))
    listener, port = await listening(connections)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    try:
        for client in clients[:-1]:
            assert await is_closed(client)
        gc.collect()
        listener.close()
        assert await is_closed(clients[-1])
    finally:
        for client in clients:
            client.close()


async def test_a_connection_that_cannot_be_made_is_closed() -> None:
    def failing() -> Connection:
        raise RuntimeError("a defect")

    listener, port = await listening(Connections(ConnectionLimits(10, 0, 1000)), failing)
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert await is_closed(client)
        gc.collect()
    listener.close()
