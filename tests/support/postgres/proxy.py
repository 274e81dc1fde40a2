"""TCP proxy whose connections a test can cut, hold or delay, and which can lose requests or replies.

The proxy does not parse the data, so it works for gRPC as well as for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.support.postgres.folder import PATIENCE
from tests.support.postgres.proxied_connection import Loss, NetworkFaults, ProxiedConnection


def address_of(url: str) -> str:
    """Return HOST:PORT of a URL."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


class TcpProxy:
    """Forwards from its own port to ``target``, HOST:PORT, from construction until ``close``.

    The proxy runs in a separate thread, so that tests with and without an event loop can use it. Each method takes
    effect before it returns.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._port = free_port()
        self._faults = NetworkFaults()
        self._connections: dict[ProxiedConnection, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}", daemon=True)
        self._thread.start()
        self.accept()

    @property
    def address(self) -> str:
        """HOST:PORT on which the proxy listens."""
        return f"127.0.0.1:{self._port}"

    @property
    def lost(self) -> int:
        """Return the number of requests and replies lost so far."""
        return self._faults.lost

    def through(self, url: str) -> str:
        """Return the target's URL with the proxy's address."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}{self.address}").geturl()

    def cut(self) -> None:
        """Reset all connections on both sides; new connections are still accepted."""
        self._do(self._reset_all)

    def refuse(self) -> None:
        """Refuse new connections; existing connections stay open."""
        self._do(self._stop_listening)

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._do(self._listen)

    def freeze(self) -> None:
        """Accept and keep connections but forward nothing, like a network without a route."""
        self._do(self._faults.flowing.clear)

    def thaw(self) -> None:
        """Forward again, beginning with the held data."""
        self._do(self._faults.flowing.set)

    def delay(self, seconds: float) -> None:
        """Delay all forwarding from now on by this many seconds, in both directions."""
        self._faults.delay = seconds

    def swallow_answers(self, to: bytes = b"", *, times: int | None = None) -> None:
        """Lose the replies to requests that contain a text: the request arrives, then the connection is reset.

        The reset waits until the target has closed its side, and thus has processed every request:
        ``swallow_answers(b"COMMIT", times=1)`` makes one commit that is stored but never acknowledged.

        :param to: text to find in the client's bytes; empty means every request from now on.
        :param times: maximum number of losses. None: no limit.
        """
        self._faults.loss = Loss(to, times, arrives=True)

    def swallow_requests(self, like: bytes = b"", *, times: int | None = None) -> None:
        """Reset connections instead of forwarding requests that contain a text, so that these requests never arrive."""
        self._faults.loss = Loss(like, times, arrives=False)

    def swallow_nothing(self) -> None:
        """Forward all requests and replies again."""
        self._faults.loss = None

    def close(self) -> None:
        """Cut all connections and stop listening permanently; idempotent."""
        if self._loop.is_closed():
            return
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _do(self, action: Callable[[], object]) -> None:
        async def do() -> None:
            action()

        self._run(do())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _reset_all(self) -> None:
        for connection in self._connections:
            connection.reset()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept_from, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept_from(self, listener: socket.socket) -> None:
        """Accept one connection. asyncio.start_server would lose connections that it accepts while it closes."""
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the client disconnected first
        client.setblocking(False)
        connection = ProxiedConnection(client, self._faults)
        self._connections[connection] = self._loop.create_task(connection.forward_to(*self._target))
        self._connections[connection].add_done_callback(lambda _: self._connections.pop(connection))

    async def _end(self) -> None:
        self._stop_listening()
        self._reset_all()
        tasks = list(self._connections.values())
        await asyncio.sleep(0)  # start every task, so that its clean-up runs
        for task in tasks:
            task.cancel()  # a task may be held for long
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the event loop closes sockets in its next iteration
