"""Several servers of the foreign service, each of which replies with its name; and their health services."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import grpc
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckResponse

from tests.gateway.http.foreign import Context, ForeignServer, Weather
from tests.gateway.http.gateways import Gateway
from tests.support.programs import PATIENCE
from tests.support.wire import exchange, get

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Health(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Health service that reports a set status and never ends a watch by itself."""

    def __init__(self) -> None:
        self.watches = 0
        """Number of open watches."""
        self.begun = 0
        self._status = SERVING
        self._changed = asyncio.Event()

    def says(self, status: int) -> None:
        """Report this status from now on."""
        self._status = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_stream_rpc_method_handler(self._watch) if details.method == WATCH else None

    async def _watch(self, _request: bytes, _context: Context) -> AsyncIterator[bytes]:
        self.watches += 1
        self.begun += 1
        try:
            while True:
                changed = self._changed
                yield HealthCheckResponse(status=self._status).SerializeToString()
                await changed.wait()
        finally:
            self.watches -= 1


class Named(ForeignServer):
    """Server that replies with its name."""

    def __init__(self, weather: Weather, name: str, *others: grpc.GenericRpcHandler) -> None:
        super().__init__(weather)
        self.name = name
        self.others = list(others)
        self.running: grpc.aio.Server | None = None
        self.unary = self.answer

    async def answer(self, _request: Message, _context: Context) -> bytes:
        return self.weather.reading(self.name)

    async def begin(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Start the server; a restart uses the same address."""
        self.running = await self.start(credentials=credentials)

    async def die(self) -> None:
        """Cancel every call and close every connection."""
        if self.running is not None:
            running, self.running = self.running, None
            await running.stop(None)

    def holding(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold calls: the first event is set when a call arrives; set the second one to release the calls."""
        arrived, released = asyncio.Event(), asyncio.Event()

        async def hold(request: Message, context: Context) -> bytes:
            arrived.set()
            await released.wait()
            return await self.answer(request, context)

        self.unary = hold
        return arrived, released


def upstream(servers: Sequence[ForeignServer]) -> str:
    """Return the ``upstream`` setting that lists all servers."""
    return ",".join(server.address for server in servers)


async def asked(gateway: Gateway, times: int) -> Counter[str]:
    """Make calls one after the other; count them by server name, or by status when they fail."""
    found = Counter[str]()
    for _ in range(times):
        answer = await exchange(gateway.address, get(READING))
        found[answer.json["note"] if answer.status == 200 else str(answer.status)] += 1
    return found


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that must become true."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)


async def until_asked(gateway: Gateway, *names: str) -> None:
    """Wait until exactly these servers receive calls."""
    async with asyncio.timeout(PATIENCE):
        while set(await asked(gateway, 3 * len(names))) != set(names):
            pass


async def arrived(*events: asyncio.Event) -> int:
    """Wait for the first of the events; return its index."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for index, event in enumerate(events):
                if event.is_set():
                    return index
            await asyncio.sleep(0.001)
