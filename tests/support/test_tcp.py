"""TCP servers of tests leave no connection open."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from tests.support.programs import PATIENCE
from tests.support.tcp import Serve, serving


async def is_closed(client: socket.socket) -> bool:
    """Wait for the end of a connection."""
    client.setblocking(False)
    try:
        while await asyncio.get_running_loop().sock_recv(client, 100):
            pass
    except ConnectionResetError:
        pass
    return True


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve until the test ends, like a handler that waits for its client."""
    del reader, writer
    await asyncio.Event().wait()


async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader, writer
    raise ConnectionResetError


@pytest.mark.parametrize("serve", [never, failing])
@pytest.mark.parametrize("turns", range(6))
async def test_no_connection_outlives_its_server(turns: int, serve: Serve) -> None:
    """Whatever the number of turns of the event loop since the connection came."""
    async with serving(serve) as address:
        host, _, port = address.rpartition(":")
        client = socket.create_connection((host, int(port)))
        for _ in range(turns):
            await asyncio.sleep(0)
    with client:
        async with asyncio.timeout(PATIENCE):
            assert await is_closed(client)
    gc.collect()  # an unclosed connection is a warning, and so fails the test
