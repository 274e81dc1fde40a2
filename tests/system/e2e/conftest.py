"""Fixtures of the end-to-end tests: real processes on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest
from tests.support.stub_server import StubServer
from tests.support.system import Project, System


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that defines ENGINES once per engine."""
    if "system" in metafunc.fixturenames and (engines := getattr(metafunc.module, "ENGINES", None)):
        metafunc.parametrize("system", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def system(request: pytest.FixtureRequest) -> System:
    """Shared server and gateway with projects for all tests; tests must not stop or damage them."""
    found: System = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_system")
    return found


@pytest.fixture
def own_system(programs: Programs, tmp_path: Path) -> Iterator[System]:
    """Server and gateway of one test, which may stop and damage them."""
    system = System(tmp_path, programs, 3)
    yield system
    system.close()


@pytest.fixture
def rest(system: System) -> Rest:
    return system.rest


@pytest.fixture
def giver(system: System) -> Project:
    """New project of this test."""
    return system.new_project()


@pytest.fixture(scope="session")
def idle(system: System) -> Project:
    """Project without data, for tests that change nothing."""
    return system.new_project()


@pytest.fixture
def recipient(system: System) -> Project:
    """Another new project of this test."""
    return system.new_project()


@pytest.fixture
def backup_id(system: System, giver: Project) -> str:
    """Backup of the giver that can be shared and is not shared yet."""
    return system.put_backup(giver)


@pytest.fixture(scope="session")
def stub_rest(_stub_server: StubServer, session_programs: Programs) -> Rest:
    """Gateway in front of the stub server."""
    rest = Rest(free_address())
    session_programs.gateway(rest.address, _stub_server.address)
    return rest
