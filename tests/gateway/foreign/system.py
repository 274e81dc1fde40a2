"""Echo server and gateways on the event loop of a separate thread, so that tests are plain functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from programkit.process.lifetime import Lifetime
from restmap_gateway import app
from restmap_gateway.config import Settings
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

T = TypeVar("T")
Context = grpc.aio.ServicerContext


@dataclass(slots=True)
class Reply:
    """Reply of the server to a call."""

    response: bytes | None = None
    """None: the request is echoed."""
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    trailers: tuple[tuple[str, str | bytes], ...] = ()


@dataclass(slots=True)
class EchoServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Server with every method; it echoes the request unless ``reply`` says otherwise."""

    seen: list[tuple[str, bytes]] = field(default_factory=list)
    """Method and request of each call since the last `forget`."""
    metadata: list[list[tuple[str, Any]]] = field(default_factory=list)
    """Metadata of each call since the last `forget`."""
    reply: Reply = field(default_factory=Reply)
    streaming: frozenset[str] = frozenset()

    def forget(self) -> None:
        """Reset the recorded calls and the reply."""
        self.seen.clear()
        self.metadata.clear()
        self.reply = Reply()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name: str = details.method
        if name == "/grpc.health.v1.Health/Watch":
            return None

        async def once(request: bytes, context: Context[bytes, bytes]) -> bytes:
            self.seen.append((name, request))
            self.metadata.append([(key, value) for key, value in context.invocation_metadata() or ()])
            context.set_trailing_metadata(self.reply.trailers)
            context.set_code(self.reply.code)
            context.set_details(self.reply.message)
            return request if self.reply.response is None else self.reply.response

        async def twice(request: bytes, context: Context[bytes, bytes]) -> None:
            for _ in range(2):
                await context.write(await once(request, context))

        if name in self.streaming:
            return grpc.unary_stream_rpc_method_handler(twice)
        return grpc.unary_unary_rpc_method_handler(once)


class _UntilClosed(Lifetime):
    """Lifetime that ends with ``end``; ``serving`` is set once the gateway serves and awaits its end."""

    def __init__(self) -> None:
        super().__init__()
        self.serving = asyncio.Event()

    async def stopping(self) -> None:
        self.serving.set()
        await super().stopping()

    def end(self) -> None:
        self._stop.set()


class System:
    """Echo server and its gateways."""

    def __init__(self, streaming: frozenset[str]) -> None:
        self.echo = EchoServer(streaming=streaming)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._gateways: list[tuple[_UntilClosed, Future[None]]] = []
        self._server, self._upstream = self._do(self._start_server())

    def gateway(self, **settings: Any) -> str:  # noqa: ANN401 - as Settings takes them
        """Start a gateway; return its HOST:PORT."""
        address = free_address()
        parsed = Settings(listen=address, upstream=self._upstream, **settings)
        lifetime = self._do(self._lifetime())
        running = asyncio.run_coroutine_threadsafe(app.serve(parsed, lifetime), self._loop)
        self._gateways.append((lifetime, running))
        running.add_done_callback(lambda _: self._loop.call_soon_threadsafe(lifetime.serving.set))
        self._do(lifetime.serving.wait())
        if running.done():
            self._gateways.pop()
            running.result()
        return address

    def close(self) -> None:
        """Stop the gateways, the server and the thread."""
        for lifetime, running in self._gateways:
            self._loop.call_soon_threadsafe(lifetime.end)
            running.result(PATIENCE)
        self._do(self._server.stop(None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _start_server(self) -> tuple[grpc.aio.Server, str]:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((self.echo,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, f"127.0.0.1:{port}"

    async def _lifetime(self) -> _UntilClosed:
        return _UntilClosed()
