"""Shared fixtures: PostgreSQL servers, our programs as processes, and a gRPC stub server.

PostgreSQL is either one server for all tests, or a separate server that a test may stop, kill and configure.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

pytest.register_assert_rewrite(
    "tests.support.wire", "tests.support.rest", "tests.support.programs", "tests.system.keystone.real"
)

from tests.support.effort import FAST, FAST_EXAMPLES  # noqa: E402
from tests.support.postgres.databases import drop_database, new_database  # noqa: E402
from tests.support.postgres.proxy import TcpProxy, address_of  # noqa: E402
from tests.support.postgres.server import PostgresServer  # noqa: E402
from tests.support.postgres.which import elsewhere, own_server, started_server  # noqa: E402
from tests.support.programs import Programs  # noqa: E402 -- after the registration for assert rewriting
from tests.support.stub_server import StubServer  # noqa: E402
from tests.support.system import System  # noqa: E402

# No deadline: tests are slow on a busy machine without a defect.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.register_profile(FAST, deadline=None, max_examples=FAST_EXAMPLES)
hypothesis.settings.load_profile("suite")


PROJECTS = 500
"""Maximum number of projects that all tests on one pair of programs may create."""

LEFT_OUT = pytest.StashKey[int]()
"""Number of tests that the command line deselected by marker."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape surrogates in captured output: xdist cannot send them, and some tests log bytes that are not UTF-8."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while ten thousand tests are made, and exclude them from collections: a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use ``own_postgres`` as resilience tests."""
    for item in items:
        if "own_postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.resilience)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the tests deselected by marker; under xdist a worker collects and reports the count."""
    left_out = [item for item in items if item.get_closest_marker("resilience") or item.get_closest_marker("outside")]
    if left_out and left_out[0].config.option.markexpr:
        config = left_out[0].config
        config.stash[LEFT_OUT] = len(left_out)
        if hasattr(config, "workeroutput"):
            config.workeroutput["left_out"] = len(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 -- a worker of pytest-xdist, which has no types
    """Copy the count of a worker; all workers deselect the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report the number of deselected tests, and the command that runs them."""
    if number := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{number} tests that are slow or need other programs were not run: make test-all")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | None]:
    """PostgreSQL server for all tests, started on first use. None: the environment names an external server."""
    if elsewhere():
        yield None
        return
    server = started_server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer | None) -> str:
    """URL of the server for all tests, which no test may stop or configure."""
    url = postgres_server.url if postgres_server else elsewhere()
    assert url is not None
    return url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of an empty database for one test."""
    url = new_database(postgres)
    yield url
    drop_database(url)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Separate server for one test, which may stop, kill and configure the server, and add standbys."""
    server = own_server()
    yield server
    server.close()


@pytest.fixture
def postgres_proxy(postgres: str) -> Iterator[TcpProxy]:
    """Proxy to the server for all tests; use ``postgres_proxy.through(database_url)``."""
    with TcpProxy(address_of(postgres)) as proxy:
        yield proxy


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs that end with the test."""
    with Programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def session_programs() -> Iterator[Programs]:
    """Programs that run until the test session ends."""
    with Programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def sqlite_system(session_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Server on SQLite with a gateway and PROJECTS projects; tests must not stop or damage them."""
    system = System(tmp_path_factory.mktemp("system"), session_programs, PROJECTS)
    yield system
    system.close()


@pytest.fixture(scope="session")
def postgres_system(
    postgres: str, session_programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Server on PostgreSQL with a gateway and PROJECTS projects; tests must not stop or damage them."""
    folder = tmp_path_factory.mktemp("system")
    system = System(folder, session_programs, PROJECTS, postgres=new_database(postgres))
    yield system
    system.close()


@pytest.fixture(scope="session")
def _stub_server() -> Iterator[StubServer]:
    stub = StubServer()
    yield stub
    stub.stop()


@pytest.fixture
def stub(_stub_server: StubServer) -> StubServer:
    """Return the gRPC stub server, reset; tests set its replies."""
    _stub_server.forget()
    return _stub_server
