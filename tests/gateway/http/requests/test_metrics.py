"""Metrics of a gateway: requests by route, limits, connections and servers; no client can add a series."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import cast

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from multiplex.v1 import multiplex_pb2 as pb
from restmap_gateway import app
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather, failing
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.multiplex_peer import Peer, peer_beside
from tests.gateway.http.several import until
from tests.support.attacks.http1 import idle
from tests.support.ports import free_address
from tests.support.wire import connected, exchange, get, head_of, post

READING = "/v1/stations/{}/reading"
READINGS = "/v1/readings"
WATCH = "/v1/stations/berlin:watch"
ROUTE = "/v1/stations/{station}/reading"

Series = set[tuple[str, tuple[tuple[str, str], ...]]]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Return the registry of the only gateway of a test."""
    registry = CollectorRegistry()
    monkeypatch.setattr(app, "CollectorRegistry", lambda: registry)
    return registry


@pytest.fixture
def start_gateway(start_gateway: StartGateway) -> StartGateway:
    """Without an admin port, nothing is measured."""
    return cast("StartGateway", partial(start_gateway, admin_listen="127.0.0.1:0"))


@pytest.fixture
async def gateway(registry: CollectorRegistry, start_gateway: StartGateway) -> Gateway:
    return await start_gateway()


def series(registry: CollectorRegistry) -> Series:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


def requests(registry: CollectorRegistry, route: str, status: int, method: str = "GET") -> float:
    labels = {"http_request_method": method, "http_route": route, "http_response_status_code": str(status)}
    return value(registry, "http_server_request_duration_seconds_count", **labels)


def all_requests(registry: CollectorRegistry) -> float:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return sum(one.value for one in samples if one.name == "http_server_request_duration_seconds_count")


async def test_requests_count_under_the_template_of_their_rule(registry: CollectorRegistry, gateway: Gateway) -> None:
    for station in ("berlin", "oslo", "a%2Fb"):
        assert (await exchange(gateway.address, get(READING.format(station)))).status == 200
    await until(lambda: requests(registry, ROUTE, 200) == 3)


async def test_failures_count_under_their_status(
    registry: CollectorRegistry, gateway: Gateway, foreign: ForeignServer
) -> None:
    foreign.unary = failing(grpc.StatusCode.NOT_FOUND)
    assert (await exchange(gateway.address, get(READING.format("berlin")))).status == 404
    assert (await exchange(gateway.address, get("/nothing"))).status == 404
    assert (await exchange(gateway.address, head_of("DELETE", READINGS))).status == 405
    assert (await exchange(gateway.address, post(READINGS, b"{"))).status == 400
    await until(lambda: all_requests(registry) == 4)
    assert requests(registry, ROUTE, 404) == 1
    assert requests(registry, "unmatched", 404) == 1
    assert requests(registry, "unmatched", 405, "DELETE") == 1
    assert requests(registry, READINGS, 400, "POST") == 1


async def test_a_page_counts_under_its_path(registry: CollectorRegistry, gateway: Gateway) -> None:
    await exchange(gateway.address, get("/healthz?x=1"))
    await until(lambda: requests(registry, "/healthz", 200) == 1)


async def test_a_client_that_goes_counts_as_499(
    registry: CollectorRegistry, gateway: Gateway, foreign: ForeignServer
) -> None:
    arrived = asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    foreign.unary = hold
    async with connected(gateway.address) as connection:
        connection.send(get(READING.format("berlin")))
        await arrived.wait()
        assert value(registry, "http_server_active_requests") == 1
        assert value(registry, "restmap_gateway_connections", state="active") == 1
    await until(lambda: requests(registry, ROUTE, 499) == 1)
    assert value(registry, "http_server_active_requests") == 0


async def test_requests_above_the_limit_are_counted_as_rejected(
    registry: CollectorRegistry, start_gateway: StartGateway, foreign: ForeignServer
) -> None:
    gateway, arrived, released = await start_gateway(max_in_flight=1), asyncio.Event(), asyncio.Event()

    async def hold(_request: Message, _context: Context) -> bytes:
        arrived.set()
        await released.wait()
        return b""

    foreign.unary = hold
    async with connected(gateway.address) as connection:
        connection.send(get(READING.format("berlin")))
        await arrived.wait()
        assert (await exchange(gateway.address, get(READING.format("oslo")))).status == 503
        assert value(registry, "restmap_gateway_rejected_total", reason="in_flight") == 1
        released.set()
        assert (await connection.answer()).status == 200


async def test_streams_are_counted_while_they_are_open(
    registry: CollectorRegistry, start_gateway: StartGateway, foreign: ForeignServer, weather: Weather
) -> None:
    gateway = await start_gateway(max_streams=1)

    async def endless(_request: Message, _context: Context) -> AsyncIterator[bytes]:
        yield weather.reading("one")
        await asyncio.Event().wait()

    foreign.stream = endless
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        await until(lambda: value(registry, "restmap_gateway_streams_open") == 1)
        assert (await exchange(gateway.address, get(WATCH))).status == 503
        assert value(registry, "restmap_gateway_rejected_total", reason="streams") == 1
    await until(lambda: value(registry, "restmap_gateway_streams_open") == 0)


async def test_connections_are_counted_by_state_and_refusal(
    registry: CollectorRegistry, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(max_connections=2)
    with await asyncio.to_thread(idle, gateway.address, 3):
        await until(lambda: value(registry, "restmap_gateway_connections_closed_total") == 1)
        assert value(registry, "restmap_gateway_connections", state="idle") == 2
    await until(lambda: value(registry, "restmap_gateway_connections", state="idle") == 0)
    assert value(registry, "restmap_gateway_connections_refused_total") == 0


@pytest.mark.parametrize(("multiplex", "way"), [(False, "single"), (True, "multiplexed")])
async def test_calls_are_counted_by_the_way_they_were_sent(
    registry: CollectorRegistry,
    start_gateway: StartGateway,
    foreign: ForeignServer,
    monkeypatch: pytest.MonkeyPatch,
    multiplex: bool,
    way: str,
) -> None:
    peer: Peer = peer_beside(foreign, monkeypatch)
    gateway = await start_gateway(multiplex=multiplex)
    await exchange(gateway.address, get(READING.format("berlin")))
    if multiplex:
        stream = await peer.stream()
        await stream.write(pb.MultiplexResponse(max_in_flight=10).SerializeToString())
        await until(lambda: value(registry, "restmap_gateway_multiplex_streams_open") == 1)
        asked = asyncio.create_task(exchange(gateway.address, get(READING.format("berlin"))))
        (call,) = await peer.calls(1)
        await stream.write(pb.MultiplexResponse(answers=[pb.Answer(id=call.id)]).SerializeToString())
        await asked
        assert value(registry, "restmap_gateway_multiplex_frame_calls_bucket", le="1.0") == 1
        assert value(registry, "restmap_gateway_multiplex_frames_received_total") == 2
        peer.end.set()
        await until(lambda: value(registry, "restmap_gateway_multiplex_streams_open") == 0)
        assert value(registry, "restmap_gateway_multiplex_streams_opened_total") == 1
    assert value(registry, "restmap_gateway_upstream_calls_total", way=way) == 1


async def test_a_retry_is_counted(registry: CollectorRegistry, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(upstream=free_address())
    assert (await exchange(gateway.address, get(READING.format("berlin")))).status == 503
    assert value(registry, "restmap_gateway_upstream_retries_total") == 1
    assert (await exchange(gateway.address, post(READINGS, b"{}"))).status == 503
    assert value(registry, "restmap_gateway_upstream_retries_total") == 1  # a change is not sent again


async def test_servers_are_counted_by_configured_address(
    registry: CollectorRegistry, start_gateway: StartGateway, foreign: ForeignServer
) -> None:
    async def found(host: str, port: int) -> Sequence[str]:
        return [foreign.address]

    away = free_address()
    await start_gateway(upstream=f"dns:///weather.test:1,{away}", look_up=found, insecure=True)

    def servers(server: str, state: str) -> float:
        return value(registry, "restmap_gateway_upstream_servers", server=server, state=state)

    await until(lambda: servers("dns:///weather.test:1", "serving") == 1 and servers(away, "unreachable") == 1)
    assert (servers("dns:///weather.test:1", "unreachable"), servers(away, "serving")) == (0, 0)
    assert foreign.address not in str(series(registry))


async def test_the_only_server_is_counted_too(
    registry: CollectorRegistry, gateway: Gateway, foreign: ForeignServer
) -> None:
    await exchange(gateway.address, get(READING.format("berlin")))
    servers = {"server": foreign.address, "state": "serving"}
    await until(lambda: value(registry, "restmap_gateway_upstream_servers", **servers) == 1)


def garbage(number: int) -> Iterator[bytes]:
    """Yield requests that differ in everything that a client can choose."""
    drawn = random.Random(number)  # noqa: S311 -- test data
    word = "".join(drawn.choices("abcXYZ0189-_.~%:", k=drawn.randrange(1, 60)))
    yield get(f"/{word}?{word}={word}")
    yield get(READING.format(word.replace("%", "")), f"X-{number}: {word}", f"X-Weather-Id: {word}")
    yield get(f"{READINGS}?{word.replace('%', '')}=1")
    yield head_of("DELETE", f"/v1/stations/{word}")
    yield post(READINGS, word.encode())
    yield head_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 26 :] + "X", "/v1")
    yield bytes(drawn.randrange(256) for _ in range(30)) + b"\r\n\r\n"
    yield head_of("GET", "/v1/readings", version=("1.0", "1.4", "2.0", "0.9")[number % 4])


@pytest.mark.parametrize("any_method", [False, True])
async def test_garbage_adds_no_series(
    registry: CollectorRegistry, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, any_method: bool
) -> None:
    """Also where the gateway's slower parser lets every method in."""
    if any_method:
        monkeypatch.setattr("restmap_gateway.http.server.are_all_common", lambda _: False)
    gateway = await start_gateway()

    async def sent(numbers: range) -> int:
        before = all_requests(registry)
        rejected = value(registry, "restmap_gateway_rejected_total", reason="malformed")
        wanted = 0
        for one in (one for number in numbers for one in garbage(number)):
            async with connected(gateway.address) as connection:
                connection.send(one)
                connection.half_close()
                await connection.ended()
                wanted += 1

        def counted() -> float:
            malformed = value(registry, "restmap_gateway_rejected_total", reason="malformed")
            return all_requests(registry) - before + malformed - rejected

        await until(lambda: counted() == wanted)
        return wanted

    await sent(range(20))
    known = series(registry)
    await sent(range(20, 60))
    assert series(registry) - known == set()
    assert "_OTHER" in str(known) or not any_method
