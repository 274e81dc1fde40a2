"""A TCP proxy whose connections a test can cut, hold, slow down, and lose requests or answers on.

It knows nothing of what it forwards, and so is as good for gRPC as for PostgreSQL.
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
from tests.support.postgres.link import Link, Loss, Weather


def address_of(url: str) -> str:
    """HOST:PORT of a url."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


class TcpProxy:
    """Forwards from a port of its own to ``target``, HOST:PORT, from when it is made until it is closed.

    It runs in a thread of its own, so that tests with and without a loop can use it. What a method says is so
    when it returns.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._port = free_port()
        self._weather = Weather()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {target}", daemon=True)
        self._thread.start()
        self.accept()

    @property
    def address(self) -> str:
        """HOST:PORT that it listens on."""
        return f"127.0.0.1:{self._port}"

    @property
    def lost(self) -> int:
        """How many requests or answers were swallowed so far."""
        return self._weather.lost

    def through(self, url: str) -> str:
        """The url of the target with our address in place of the target's."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}{self.address}").geturl()

    def cut(self) -> None:
        """Reset all connections, on both sides. New ones are accepted as before."""
        self._do(self._reset_all)

    def refuse(self) -> None:
        """Refuse new connections. Those that are there stay."""
        self._do(self._stop_listening)

    def accept(self) -> None:
        """Accept connections again, on the same port."""
        self._do(self._listen)

    def freeze(self) -> None:
        """Accept and keep connections, and forward nothing, as a network does that lost its way."""
        self._do(self._weather.flowing.clear)

    def thaw(self) -> None:
        """Forward again, first what was held."""
        self._do(self._weather.flowing.set)

    def delay(self, seconds: float) -> None:
        """Forward everything that much later from now on, in both directions."""
        self._weather.delay = seconds

    def swallow_answers(self, to: bytes = b"", *, times: int | None = None) -> None:
        """Lose the answers to requests with a text in them: those arrive, and then the connection is reset.

        The reset comes only when the target has closed its side, and so is done with all that it was asked:
        ``swallow_answers(b"COMMIT", times=1)`` makes one commit that is there and was never acknowledged.

        :param to: looked for in the bytes of the client; nothing means every request from now on.
        :param times: how often; None until told otherwise.
        """
        self._weather.loss = Loss(to, times, arrives=True)

    def swallow_requests(self, like: bytes = b"", *, times: int | None = None) -> None:
        """Reset connections in place of forwarding requests with a text in them: these never arrive."""
        self._weather.loss = Loss(like, times, arrives=False)

    def swallow_nothing(self) -> None:
        """Forward all requests and answers again."""
        self._weather.loss = None

    def close(self) -> None:
        """Cut all connections and refuse new ones, for good. May be done twice."""
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
        for link in self._links:
            link.reset()

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
        """Not left to asyncio.start_server, which loses connections that it accepts while it is closed."""
        try:
            client, _ = listener.accept()
        except OSError:
            return  # it went away again
        client.setblocking(False)
        link = Link(client, self._weather)
        self._links[link] = self._loop.create_task(link.forward_to(*self._target))
        self._links[link].add_done_callback(lambda _: self._links.pop(link))

    async def _end(self) -> None:
        self._stop_listening()
        self._reset_all()
        tasks = list(self._links.values())
        await asyncio.sleep(0)  # so that all have begun, and clean up behind them
        for task in tasks:
            task.cancel()  # may be held, and for long
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets are closed by the loop after us
