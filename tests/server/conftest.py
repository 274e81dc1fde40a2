"""The server's parts, wired as in `backup_sharing.app`, on a new database for each test."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from backup_sharing import logs
from backup_sharing.rpc.access_service import AccessService
from backup_sharing.rpc.catalog_service import CatalogService
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.rpc.sharing_service import SharingService
from backup_sharing.rules.commands import Cause, PutBackup
from backup_sharing.store.interface import Store
from backup_sharing.usecases.access import Accesses
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.history import History
from backup_sharing.usecases.sharing import Caller, SharingLimits, Sharings
from tests.server.identities import (
    MADE_REQUEST_ID,
    OUTSIDER,
    OUTSIDERS_BACKUP,
    REQUEST_ID,
    SECOND_BACKUP,
    TOKENS,
    Clock,
    Ids,
    backup,
    identity,
)
from tests.server.multiplexing import Client, Desk, multiplexing
from tests.store.opened import open_sqlite


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_id() -> Ids:
    return Ids()


@pytest.fixture
def caller() -> Caller:
    return Caller(TOKENS["giver-token"], REQUEST_ID, commit_by=None)


@pytest_asyncio.fixture
async def empty_store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await open_sqlite(tmp_path / "sharings.db", clock=clock)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def store(empty_store: Store, clock: Clock) -> Store:
    """Return a store with two backups of the giver and one of the outsider, all available."""
    cause = Cause("", "sam", REQUEST_ID, clock())
    for given in (backup(), backup(SECOND_BACKUP), backup(OUTSIDERS_BACKUP, OUTSIDER)):
        await empty_store.put_backup(PutBackup(given, cause))
    return empty_store


@pytest.fixture
def set_status(store: Store, clock: Clock) -> Callable[[str, str], Any]:
    """Return a function that stores a new status of one of the giver's backups."""

    async def set_status(backup_id: str, status: str) -> None:
        cause = Cause("", "sam", REQUEST_ID, clock())
        await store.put_backup(PutBackup(backup(backup_id, status=status), cause))

    return set_status


@pytest.fixture
def limits() -> SharingLimits:
    return SharingLimits()


@pytest.fixture
def sharings(store: Store, limits: SharingLimits, clock: Clock, new_id: Ids) -> Sharings:
    return Sharings(store, limits, clock, new_id)


@pytest.fixture
def catalog(store: Store, clock: Clock) -> Catalog:
    return Catalog(store, clock)


@pytest.fixture
def methods(sharings: Sharings, catalog: Catalog, store: Store) -> Sequence[ServedMethod]:
    access = AccessService(Accesses(store), History(store))
    return [*SharingService(sharings).methods(), *CatalogService(catalog).methods(), *access.methods()]


@pytest.fixture
def pipeline(methods: Sequence[ServedMethod]) -> Pipeline:
    return Pipeline(methods, identity(), commit_margin=1.0, new_request_id=lambda: MADE_REQUEST_ID)


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Capture the log from now on, with the server's own configuration; yield a function that reads it."""
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        lines = logs.configure("debug")

    def read() -> list[dict[str, Any]]:
        lines.flush()
        return [json.loads(line) for line in written.getvalue().splitlines()]

    yield read
    structlog.reset_defaults()
    stderr.close()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert that the test logs no warning or error, for example of asyncio or gRPC."""
    yield
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warned] == []


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def desk_pipeline(desk: Desk) -> Pipeline:
    return Pipeline([desk.method()], identity(), commit_margin=0.0, new_request_id=lambda: MADE_REQUEST_ID)


@pytest.fixture
async def client(desk_pipeline: Pipeline) -> AsyncIterator[Client]:
    async with multiplexing(desk_pipeline) as (client, _):
        yield client
