"""What the client's tests run against: a stub that fails as it is told, and a real server."""

from __future__ import annotations

import pytest

from tests.client.callers import Awaited, Blocking, Caller
from tests.support.house import House
from tests.support.stub_server import StubServer


@pytest.fixture(scope="session")
def house(sqlite_house: House) -> House:
    """A server and a gateway, with projects enough for all tests."""
    return sqlite_house


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def caller(request: pytest.FixtureRequest, stub: StubServer) -> Caller:
    """Either client, before the stub."""
    made: Caller = request.param(stub.address)
    return made
