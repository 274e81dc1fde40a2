"""Readiness: replies to a load balancer in front of the gateway, and the notice before draining."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import pytest

from programkit.admin_port import CannotServeAdmin
from restmap_gateway.errors import RequestFailed
from restmap_gateway.http.readiness import PATH, Readiness
from restmap_gateway.upstream.availability import condition, why_none_reached
from restmap_gateway.upstream.health import ServerHealth, ServerState
from tests.gateway.http.foreign import ForeignServer, Weather, answering
from tests.gateway.http.gateways import running_gateway
from tests.gateway.http.several import NOT_SERVING, SERVING, Health, Named, until_asked, upstream
from tests.support.ports import free_address
from tests.support.programs import PATIENCE
from tests.support.wire import Answer, assert_failure, connected, exchange, get

CALL = "/v1/stations/berlin/reading"


async def test_readiness_is_watched_for_a_minute_after_each_request() -> None:
    now = 100.0
    readiness = Readiness(lambda: None, lambda: now)
    assert not readiness.is_watched
    await readiness.page()
    now += 59
    assert readiness.is_watched
    now += 2
    assert not readiness.is_watched


async def test_readiness_has_the_reason_why_no_server_is_reached() -> None:
    readiness = Readiness(lambda: "All are gone.")
    with pytest.raises(RequestFailed, match="All are gone"):
        await readiness.page()
    assert readiness.is_watched


async def test_readiness_is_over_when_it_drains() -> None:
    readiness = Readiness(lambda: None)
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


async def status_of(address: str, path: str) -> int:
    return (await exchange(address, asking(path))).status


def asking(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def until_status(address: str, path: str, status: int) -> Answer:
    """Poll until the status is this one; return the answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await exchange(address, asking(path))
            if answer.status == status:
                return answer
            await asyncio.sleep(0.02)


async def test_without_a_server_the_gateway_lives_unready(weather: Weather) -> None:
    admin = free_address()
    async with running_gateway(weather.descriptor_set, free_address(), admin_listen=admin) as gateway:
        assert_failure(await exchange(gateway.address, get(PATH)), 503, "UNAVAILABLE", "can be reached")
        ready = await exchange(admin, asking("/readyz?verbose"))
        assert await status_of(admin, "/livez") == 200
    assert ready.status == 503
    check = ready.json["checks"][0]
    assert (check["name"], check["reason"]) == ("upstream", "No server behind this gateway can be reached.")
    assert check["details"]["servers"][0]["state"] == "unreachable"


async def test_readiness_follows_the_only_server(weather: Weather) -> None:
    server, admin = Named(weather, "a"), free_address()
    await server.begin()
    async with running_gateway(weather.descriptor_set, server.address, admin_listen=admin) as gateway:
        assert await status_of(admin, "/readyz") == 200
        assert await status_of(gateway.address, PATH) == 200
        await server.die()
        await until_status(admin, "/readyz", 503)
        await until_status(gateway.address, PATH, 503)
        await server.begin()
        await until_status(admin, "/readyz", 200)
        await until_status(gateway.address, PATH, 200)
    await server.die()


async def test_a_server_that_accepts_no_calls_is_still_reached(weather: Weather) -> None:
    health, admin = Health(), free_address()
    server = Named(weather, "a", health)
    await server.begin()
    async with running_gateway(weather.descriptor_set, server.address, admin_listen=admin) as gateway:
        health.says(NOT_SERVING)
        ready = await until_status(admin, "/readyz", 503)
        assert "reports that it accepts no calls" in ready.json["checks"][0]["reason"]
        assert await status_of(gateway.address, PATH) == 200
        health.says(SERVING)
        await until_status(admin, "/readyz", 200)
    await server.die()


async def test_one_of_two_servers_is_enough(weather: Weather) -> None:
    servers, admin = [Named(weather, "a"), Named(weather, "b")], free_address()
    for server in servers:
        await server.begin()
    async with running_gateway(weather.descriptor_set, upstream(servers), admin_listen=admin) as gateway:
        await until_asked(gateway, "a", "b")
        await servers[0].die()
        await until_asked(gateway, "b")
        ready = await until_check(admin, "1 of 2 servers accept calls.")
        assert (ready.status, ready.json["checks"][0]["degraded"]) == (200, True)
        assert await status_of(gateway.address, PATH) == 200
        await servers[1].die()
        await until_status(admin, "/readyz", 503)
        await until_status(gateway.address, PATH, 503)


async def until_check(admin: str, reason: str) -> Answer:
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await exchange(admin, asking("/readyz"))
            if answer.json["checks"][0]["reason"] == reason:
                return answer
            await asyncio.sleep(0.02)


async def test_probes_make_no_calls_to_the_server(weather: Weather) -> None:
    health, admin = Health(), free_address()
    server = Named(weather, "a", health)
    await server.begin()
    async with running_gateway(weather.descriptor_set, server.address, admin_listen=admin) as gateway:
        for _ in range(20):
            assert await status_of(admin, "/readyz") == 200
            assert await status_of(gateway.address, PATH) == 200
        assert (health.begun, server.seen) == (1, [])
    await server.die()


async def test_a_polled_gateway_drains_with_notice_and_reason(weather: Weather, foreign: ForeignServer) -> None:
    admin = free_address()
    settings = {"admin_listen": admin, "drain_notice": PATIENCE}
    started = running_gateway(weather.descriptor_set, foreign.address, **settings)
    with suppress(asyncio.CancelledError):
        async with started as gateway:
            assert await status_of(admin, "/readyz") == 200
            gateway.lifetime.stop.set()
            ready = await until_status(admin, "/readyz", 503)
            assert (ready.json["status"], await status_of(admin, "/livez")) == ("draining", 200)
            assert await status_of(gateway.address, CALL) == 200
            gateway.task.cancel()  # instead of a wait for the end of the notice


async def test_a_gateway_on_a_taken_admin_port_does_not_start(weather: Weather, foreign: ForeignServer) -> None:
    async with running_gateway(weather.descriptor_set, foreign.address) as gateway:
        with pytest.raises(CannotServeAdmin, match=f"--admin-listen: {gateway.address}: .*in use"):
            async with running_gateway(weather.descriptor_set, foreign.address, admin_listen=gateway.address):
                pass


def test_a_connected_server_without_an_answer_is_reached() -> None:
    silent = ServerHealth("a:1", ServerState.UNREACHABLE, is_connected=True)
    assert why_none_reached([silent]) is None
    assert not condition([silent]).ok


def test_before_the_first_answer_no_server_is_reached() -> None:
    unknown = ServerHealth("a:1", ServerState.UNKNOWN, is_connected=False)
    assert why_none_reached([unknown]) == "No server behind this gateway has been reached yet."
    assert why_none_reached([]) == "No server is known to this gateway."
