"""Run the foreign service and a gateway in the test's process, on the event loop that the programs use."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest
import pytest_asyncio
import uvloop
from structlog.testing import capture_logs

from restmap_gateway.upstream.resolver import LookUp, look_up
from tests.gateway.http.foreign import ForeignServer, Weather
from tests.gateway.http.gateways import Gateway, running_gateway
from tests.support.protoc import DescriptorSets

LogLine = MutableMapping[str, Any]


class StartGateway(Protocol):
    """Start a gateway in front of the foreign server with these settings; the gateway ends with the test."""

    async def __call__(self, *, upstream: str = ..., look_up: LookUp = ..., **settings: object) -> Gateway: ...


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def weather(descriptor_set: DescriptorSets) -> Weather:
    return Weather(descriptor_set("weather"))


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[list[LogLine]]:
    """Return the gateway's log; fail on a logged defect or on a warning of asyncio, aiohttp or gRPC."""
    with capture_logs() as lines:
        yield lines
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest_asyncio.fixture
async def foreign(weather: Weather) -> AsyncIterator[ForeignServer]:
    """Return a running server of the foreign service."""
    foreign = ForeignServer(weather)
    server = await foreign.start()
    yield foreign
    await server.stop(None)


@pytest_asyncio.fixture
async def start_gateway(foreign: ForeignServer, weather: Weather) -> AsyncIterator[StartGateway]:
    async with AsyncExitStack() as gateways:

        async def start(*, upstream: str = "", look_up: LookUp = look_up, **settings: object) -> Gateway:
            running = running_gateway(weather.descriptor_set, upstream or foreign.address, look_up, **settings)
            return await gateways.enter_async_context(running)

        yield start


@pytest_asyncio.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """Return a gateway in front of the foreign server."""
    return await start_gateway()
