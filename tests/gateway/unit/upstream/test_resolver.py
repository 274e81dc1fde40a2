"""Server addresses from a resolver with fixed DNS replies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from restmap_gateway.upstream.resolver import Resolver, look_up
from restmap_gateway.upstream.server_address import ServerAddress


def knowing(**names: Sequence[str]) -> Resolver:
    """Return a resolver of all these names and two addresses."""

    async def answer(host: str, port: int) -> Sequence[str]:
        return [f"{address}:{port}" for address in names[host]]

    return Resolver(["10.0.0.1:1", *(f"dns:///{name}:1" for name in names), "unix:/run/it.sock"], answer)


async def test_addresses_keep_the_order_of_the_settings_each_once() -> None:
    resolver = knowing(one=["10.0.0.2", "10.0.0.1"], two=["10.0.0.3", "10.0.0.2"])
    found = [address.target for address in await resolver.addresses()]
    assert found == ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "unix:/run/it.sock"]


async def test_without_names_nobody_is_asked() -> None:
    resolver = knowing()
    assert not resolver.asks_dns
    assert await resolver.addresses() == [ServerAddress("10.0.0.1:1"), ServerAddress("unix:/run/it.sock")]


async def test_an_answer_that_does_not_come_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restmap_gateway.upstream.resolver._LOOK_UP_SECONDS", 0.01)
    is_silent = False

    async def answer(_host: str, _port: int) -> Sequence[str]:
        if is_silent:
            await asyncio.Event().wait()
        return ["10.0.0.1:1"]

    resolver = Resolver(["dns:///name:1"], answer)
    before = await resolver.addresses()
    is_silent = True
    assert await resolver.addresses() == before == [ServerAddress("10.0.0.1:1", "name:1")]


async def test_an_address_of_version_6_is_written_in_brackets() -> None:
    assert await look_up("::1", 50051) == ["[::1]:50051"]
    assert await look_up("127.0.0.1", 50051) == ["127.0.0.1:50051"]


async def test_the_machine_knows_localhost() -> None:
    assert "127.0.0.1:1" in await look_up("localhost", 1)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (ServerAddress("server.internal:1"), "server.internal"),
        (ServerAddress("[::1]:1"), "::1"),
        (ServerAddress("10.0.0.1:1", "server.internal:2"), "server.internal"),
        (ServerAddress("unix:/run/it.sock"), "localhost"),
    ],
)
def test_the_certificate_names_what_was_looked_up_or_the_address(address: ServerAddress, host: str) -> None:
    assert address.host == host
