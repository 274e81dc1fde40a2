"""TCP servers of tests, on the test's event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.support.programs import PATIENCE

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve each TCP connection, and close it afterwards. Yield HOST:PORT.

    The end of the context closes all connections and waits for that. `asyncio.start_server` does not: a connection that
    it accepts at the end, or whose handler is cancelled, stays open until it is collected in a later test.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def accept() -> None:
        with suppress(OSError):  # the client disconnected first
            accepted, _ = listener.accept()
            accepted.setblocking(False)
            task = loop.create_task(_served(serve, accepted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    host, _, port = address.rpartition(":")
    with await _listening(host, int(port)) as listener:
        loop.add_reader(listener, accept)
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            loop.remove_reader(listener)
            await _end(tasks)


async def _listening(host: str, port: int) -> socket.socket:
    """Listen once the address is free: another server may be about to leave it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                listener = socket.create_server((host, port), backlog=128)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                await asyncio.sleep(0.01)
            else:
                listener.setblocking(False)
                return listener


async def _served(serve: Serve, accepted: socket.socket) -> None:
    with suppress(OSError):  # the client closed its side first
        reader, writer = await asyncio.open_connection(sock=accepted)
        try:
            await serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        finally:
            writer.transport.abort()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    ending = list(tasks)
    await asyncio.sleep(0)  # start every task, so that its clean-up runs
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    await asyncio.sleep(0)  # the event loop closes sockets in its next iteration
