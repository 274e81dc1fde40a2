"""Servers for the client's tests: a stub with failures on command, and a real server."""

from __future__ import annotations

import pytest

from tests.client.callers import Awaited, Blocking, Caller
from tests.support.stub_server import StubServer
from tests.support.system import System


@pytest.fixture(scope="session")
def system(sqlite_system: System) -> System:
    """Return a server and a gateway, with enough projects for all tests."""
    return sqlite_system


@pytest.fixture(params=[Blocking, Awaited], ids=["blocking", "awaited"])
def caller(request: pytest.FixtureRequest, stub: StubServer) -> Caller:
    """Return a caller of the stub, with either client."""
    made: Caller = request.param(stub.address)
    return made
