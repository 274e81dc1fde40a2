"""Readiness: replies to a load balancer in front of the gateway, and the notice before draining."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from restmap_gateway.errors import RequestFailed
from restmap_gateway.http.readiness import PATH, Readiness
from tests.gateway.http.foreign import ForeignServer, Weather, answering
from tests.gateway.http.gateways import running_gateway
from tests.support.wire import assert_failure, connected, exchange, get

CALL = "/v1/stations/berlin/reading"


async def test_readiness_is_watched_for_a_minute_after_each_request() -> None:
    now = 100.0
    readiness = Readiness(lambda: now)
    assert not readiness.is_watched
    await readiness.page()
    now += 59
    assert readiness.is_watched
    now += 2
    assert not readiness.is_watched


async def test_readiness_is_over_when_it_drains() -> None:
    readiness = Readiness()
    assert json.loads((await readiness.page()).body) == {"status": "SERVING"}
    readiness.drain()
    with pytest.raises(RequestFailed, match="about to stop"):
        await readiness.page()


async def test_a_watched_gateway_serves_on_and_says_that_it_stops(foreign: ForeignServer, weather: Weather) -> None:
    foreign.unary = answering(weather.reading("warm"))
    async with running_gateway(weather.descriptor_set, foreign.address, drain_notice=4.0) as gateway:
        ready = await exchange(gateway.address, get(PATH))
        assert (ready.status, json.loads(ready.body)) == (200, {"status": "SERVING"})
        async with connected(gateway.address) as before:
            draining = asyncio.create_task(gateway.drain())
            await asyncio.sleep(0.1)
            going = await exchange(gateway.address, get(PATH))
            assert_failure(going, 503, "UNAVAILABLE", "about to stop")
            before.send(get(CALL))
            answer = await before.answer()
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
            assert (await exchange(gateway.address, get(CALL))).status == 200
            await draining


async def test_a_gateway_that_nobody_watches_stops_at_once(foreign: ForeignServer, weather: Weather) -> None:
    async with running_gateway(weather.descriptor_set, foreign.address, drain_notice=30.0) as gateway:
        began = time.monotonic()
        await gateway.drain()
        assert time.monotonic() - began < 10


async def test_readiness_is_a_page_like_others(foreign: ForeignServer, weather: Weather) -> None:
    async with running_gateway(weather.descriptor_set, foreign.address) as gateway:
        refused = await exchange(gateway.address, get(PATH).replace(b"GET", b"POST", 1))
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert (await exchange(gateway.address, get(PATH).replace(b"GET", b"HEAD", 1))).status == 200
