"""What the client's tests run against: a stub that fails as it is told, and a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.callers import Awaited, Blocking, Caller
from tests.support.house import House
from tests.support.programs import Programs
from tests.support.stub_server import StubServer


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server and a gateway, with projects enough for all tests."""
    with Programs() as programs:
        house = House(tmp_path_factory.mktemp("house"), programs, 120)
        yield house
        house.close()


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def caller(request: pytest.FixtureRequest, stub: StubServer) -> Caller:
    """Either client, before the stub."""
    made: Caller = request.param(stub.address)
    return made
