"""What tests of several rooms stand on.

PostgreSQL: one server for all, or one of its own that a test may mistreat. Our programs as processes. And a gRPC server
that fails as it is told.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

pytest.register_assert_rewrite(
    "tests.support.wire", "tests.support.rest", "tests.support.programs", "tests.system.keystone.real"
)

from tests.support.house import House  # noqa: E402
from tests.support.postgres.databases import drop_database, new_database  # noqa: E402
from tests.support.postgres.proxy import TcpProxy, address_of  # noqa: E402
from tests.support.postgres.server import PostgresServer  # noqa: E402
from tests.support.postgres.which import elsewhere, own_server, started_server  # noqa: E402
from tests.support.programs import Programs  # noqa: E402 -- after what makes asserts talk
from tests.support.stub_server import StubServer  # noqa: E402

# A machine that is busy with something else is no defect.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


PROJECTS = 500
"""How many projects of their own the tests on one pair of programs can have."""

LEFT_OUT = pytest.StashKey[int]()
"""How many tests the command line left out, by their markers."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what a test printed or logged text that can be sent to another process: tests also log what is no text."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stops, kills or starves a PostgreSQL server of its own is about resilience."""
    for item in items:
        if "own_postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.resilience)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what is left out for its marker, in the process that collects, which may be one of many."""
    left_out = [item for item in items if item.get_closest_marker("resilience") or item.get_closest_marker("outside")]
    if left_out and left_out[0].config.option.markexpr:
        config = left_out[0].config
        config.stash[LEFT_OUT] = len(left_out)
        if hasattr(config, "workeroutput"):
            config.workeroutput["left_out"] = len(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 -- a worker of pytest-xdist, which has no types
    """Take over the count of a worker: all of them leave out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and how to run it."""
    if number := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{number} tests that wait, or need other programs, were left out: make test-all")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | None]:
    """The server that all tests share, started with the first that asks; None where it is another's."""
    if elsewhere():
        yield None
        return
    server = started_server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer | None) -> str:
    """Url of a server for all tests, not to be stopped or configured."""
    url = postgres_server.url if postgres_server else elsewhere()
    assert url is not None
    return url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """Url of an empty database for one test."""
    url = new_database(postgres)
    yield url
    drop_database(url)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may stop, kill, configure, and make standbys of."""
    server = own_server()
    yield server
    server.close()


@pytest.fixture
def postgres_proxy(postgres: str) -> Iterator[TcpProxy]:
    """The way to the server for all tests, for one test to disturb: ``postgres_proxy.through(database_url)``."""
    with TcpProxy(address_of(postgres)) as proxy:
        yield proxy


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs of one test."""
    with Programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def standing_programs() -> Iterator[Programs]:
    """Programs that live as long as the tests."""
    with Programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def sqlite_house(standing_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server on SQLite and a gateway that no test harms, with projects enough for all tests."""
    house = House(tmp_path_factory.mktemp("house"), standing_programs, PROJECTS)
    yield house
    house.close()


@pytest.fixture(scope="session")
def postgres_house(
    postgres: str, standing_programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The same on PostgreSQL."""
    folder = tmp_path_factory.mktemp("house")
    house = House(folder, standing_programs, PROJECTS, postgres=new_database(postgres))
    yield house
    house.close()


@pytest.fixture(scope="session")
def _stub_server() -> Iterator[StubServer]:
    stub = StubServer()
    yield stub
    stub.stop()


@pytest.fixture
def stub(_stub_server: StubServer) -> StubServer:
    """A gRPC server that answers what the test says."""
    _stub_server.forget()
    return _stub_server
