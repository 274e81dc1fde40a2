"""Fixtures of the end-to-end tests: real processes on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import House, Project
from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest
from tests.support.stub_server import StubServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that defines ENGINES once per engine."""
    if "house" in metafunc.fixturenames and (engines := getattr(metafunc.module, "ENGINES", None)):
        metafunc.parametrize("house", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def house(request: pytest.FixtureRequest) -> House:
    """Shared server and gateway with projects for all tests; tests must not stop or damage them."""
    found: House = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_house")
    return found


@pytest.fixture
def own_house(programs: Programs, tmp_path: Path) -> Iterator[House]:
    """Server and gateway of one test, which may stop and damage them."""
    house = House(tmp_path, programs, 3)
    yield house
    house.close()


@pytest.fixture
def rest(house: House) -> Rest:
    return house.rest


@pytest.fixture
def giver(house: House) -> Project:
    """New project of this test."""
    return house.new_project()


@pytest.fixture(scope="session")
def idle(house: House) -> Project:
    """Project without data, for tests that change nothing."""
    return house.new_project()


@pytest.fixture
def recipient(house: House) -> Project:
    """Another new project of this test."""
    return house.new_project()


@pytest.fixture
def backup_id(house: House, giver: Project) -> str:
    """Backup of the giver that can be shared and is not shared yet."""
    return house.put_backup(giver)


@pytest.fixture(scope="session")
def stub_rest(_stub_server: StubServer, standing_programs: Programs) -> Rest:
    """Gateway in front of the stub server."""
    rest = Rest(free_address())
    standing_programs.gateway(rest.address, _stub_server.address)
    return rest
