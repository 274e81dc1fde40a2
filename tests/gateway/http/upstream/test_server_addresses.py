"""Servers found by DNS: added and removed addresses, and certificate checks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import Weather
from tests.gateway.http.several import READING as PATH
from tests.gateway.http.several import Named, asked, until, until_asked, upstream
from tests.support.certificates import Certificates
from tests.support.wire import assert_failure, exchange, get

NAME = "weather.internal:443"
SOON = 0.05
"""Seconds between two look-ups."""


class Dns:
    """DNS with a single name."""

    def __init__(self, *servers: Named) -> None:
        self.servers: Sequence[Named] | None = servers
        """None: look-ups fail."""
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if self.servers is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [server.address for server in self.servers]


@pytest_asyncio.fixture
async def servers(weather: Weather) -> AsyncIterator[list[Named]]:
    servers = [Named(weather, name) for name in ("a", "b", "c")]
    for server in servers:
        await server.begin()
    yield servers
    for server in servers:
        await server.die()


async def test_calls_go_to_all_addresses_of_a_name(start_gateway: StartGateway, servers: list[Named]) -> None:
    dns = Dns(*servers)
    gateway = await start_gateway(upstream=f"dns:///{NAME}", look_up=dns, insecure=True)
    await until_asked(gateway, "a", "b", "c")
    assert dns.asked == [("weather.internal", 443)]


async def test_names_and_addresses_mix_and_each_server_counts_once(
    start_gateway: StartGateway, servers: list[Named]
) -> None:
    listed = f"dns:///{NAME},{servers[0].address},{servers[2].address},dns:///elsewhere:1"
    gateway = await start_gateway(upstream=listed, look_up=Dns(*servers[:2]), insecure=True)
    await until_asked(gateway, "a", "b", "c")
    assert await asked(gateway, 9) == {"a": 3, "b": 3, "c": 3}


async def test_servers_follow_dns_and_calls_end_where_they_began(
    start_gateway: StartGateway, servers: list[Named]
) -> None:
    dns = Dns(servers[0])
    gateway = await start_gateway(upstream=f"dns:///{NAME}", look_up=dns, insecure=True, resolve_every=SOON)
    await until_asked(gateway, "a")
    has_come, released = servers[0].holding()
    in_progress = asyncio.create_task(exchange(gateway.address, get(PATH)))
    await has_come.wait()
    servers[0].unary = servers[0].answer  # for calls that still reach this server
    dns.servers = servers[1:]
    await until_asked(gateway, "b", "c")
    released.set()
    assert (await in_progress).json["note"] == "a"
    assert set(await asked(gateway, 6)) == {"b", "c"}


async def test_known_addresses_are_kept_while_dns_fails_or_is_empty(
    start_gateway: StartGateway, servers: list[Named], logged: list[LogLine]
) -> None:
    dns = Dns(*servers)
    gateway = await start_gateway(upstream=f"dns:///{NAME}", look_up=dns, insecure=True, resolve_every=SOON)
    await until_asked(gateway, "a", "b", "c")
    for answer in (None, ()):
        dns.servers = answer
        looks = len(dns.asked)
        await until(lambda looks=looks: len(dns.asked) > looks + 3)  # type: ignore[misc]  # a default binds it
        assert set(await asked(gateway, 9)) == {"a", "b", "c"}
    (line,) = (line for line in logged if line["event"] == "resolve")
    assert line["kept"] == 3


async def test_a_gateway_starts_before_its_name_resolves_with_503(
    start_gateway: StartGateway, servers: list[Named], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restmap_gateway.upstream.balancer._START_SECONDS", SOON)
    monkeypatch.setattr("restmap_gateway.upstream.balancer._SOON_SECONDS", SOON)
    dns = Dns()
    dns.servers = None
    gateway = await start_gateway(upstream=f"dns:///{NAME}", look_up=dns, insecure=True)
    for path in (PATH, "/v1/stations/berlin:watch"):
        answer = await exchange(gateway.address, get(path))
        assert_failure(answer, 503, "UNAVAILABLE", "No server")
        assert answer.headers["Retry-After"] == "1"
    dns.servers = servers[:1]
    await until_asked(gateway, "a")


async def test_dns_is_asked_again_soon_after_a_server_was_lost(
    start_gateway: StartGateway, servers: list[Named], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restmap_gateway.upstream.balancer._SOON_SECONDS", SOON)
    dns = Dns(servers[0])
    gateway = await start_gateway(upstream=f"dns:///{NAME}", look_up=dns, insecure=True, resolve_every=3600.0)
    await until_asked(gateway, "a")
    dns.servers = servers[1:2]
    await servers[0].die()
    await until_asked(gateway, "b")


async def test_localhost_is_looked_up_for_real(start_gateway: StartGateway, servers: list[Named]) -> None:
    port = servers[0].address.rpartition(":")[2]
    gateway = await start_gateway(upstream=f"dns:///localhost:{port}")
    await until_asked(gateway, "a")


def credentials(certificates: Certificates, name: str, *identities: str) -> grpc.ServerCredentials:
    certificate, key = certificates.issue(name, *identities)
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])


@pytest.mark.parametrize("multiplex", [True, False])
async def test_over_tls_each_server_must_show_the_name_looked_up(
    start_gateway: StartGateway, weather: Weather, tmp_path: Path, multiplex: bool
) -> None:
    certificates = Certificates(tmp_path)
    servers = [Named(weather, name) for name in ("a", "b", "c")]
    for server, identity in zip(servers, ("weather.internal", "weather.internal", "other.internal"), strict=True):
        await server.begin(credentials(certificates, server.name, identity))
    gateway = await start_gateway(
        upstream=f"dns:///{NAME}", look_up=Dns(*servers), upstream_ca=certificates.ca, multiplex=multiplex
    )
    await until_asked(gateway, "a", "b")
    assert await asked(gateway, 6) == {"a": 3, "b": 3}
    for server in servers:
        await server.die()


async def test_over_tls_listed_addresses_have_the_name_of_the_settings(
    start_gateway: StartGateway, weather: Weather, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    servers = [Named(weather, name) for name in ("a", "b")]
    for server in servers:
        await server.begin(credentials(certificates, server.name, "weather.internal"))
    names = {"upstream_ca": certificates.ca, "upstream_name": "weather.internal"}
    gateway = await start_gateway(upstream=upstream(servers), **names)
    await until_asked(gateway, "a", "b")
    for server in servers:
        await server.die()
