"""The probe for health: calls cannot delay it, and it notices a writer that makes no progress."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from backup_sharing.errors import Unavailable
from backup_sharing.store.interface import Store
from backup_sharing.store.sqlite import batch as sqlite_batch
from backup_sharing.store.sqlite import engine as sqlite
from tests.store.opened import open_sqlite, parts
from tests.store.sqlite.scripted import make_scripted, scripted

PATIENCE = 60.0


class Held:
    """A query or change that reports its begin, and blocks until ``let_go`` is set."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self, _: sqlite3.Connection) -> None:
        self.begun.set()
        self.let_go.wait(PATIENCE)


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_batch, "make", make_scripted)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(tmp_path / "sharings.db", max_batch=1)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def hold() -> AsyncIterator[Callable[[], Held]]:
    """Yield a factory of `Held`; release all of them at the end."""
    made: list[Held] = []

    def make() -> Held:
        made.append(Held())
        return made[-1]

    yield make
    for held in made:
        held.let_go.set()


async def happened(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE)


async def settled(*tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_reads_that_fill_every_thread_do_not_hold_health_up(store: Store, hold: Callable[[], Held]) -> None:
    held = [hold() for _ in range(10)]
    reads = [asyncio.create_task(parts(store).readers.read(each)) for each in held]
    await happened(held[0].begun)
    await store.ping()
    for each in held:
        each.let_go.set()
    await settled(*reads)


async def test_changes_that_wait_do_not_hold_health_up(
    store: Store, hold: Callable[[], Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PING_WITHIN", PATIENCE)
    first, second = hold(), hold()
    changes = [asyncio.create_task(store.share(scripted(each))) for each in (first, second, hold())]
    await happened(first.begun)
    ping = asyncio.create_task(store.ping())
    await asyncio.sleep(0.05)
    assert not ping.done()
    first.let_go.set()
    # One batch has ended while others wait: that is enough for the ping.
    await ping
    second.let_go.set()
    for task in changes:
        task.cancel()


async def test_a_writer_that_stands_still_is_noticed(
    store: Store, hold: Callable[[], Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PING_WITHIN", 0.1)
    held = hold()
    change = asyncio.create_task(store.share(scripted(held)))
    await happened(held.begun)
    with pytest.raises(Unavailable):
        await store.ping()
    held.let_go.set()
    await change
    monkeypatch.setattr(sqlite, "_PING_WITHIN", PATIENCE)
    await store.ping()


async def test_a_writer_that_has_ended_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PING_WITHIN", 0.1)
    parts(store).writer.stop()
    with pytest.raises(Unavailable):
        await store.ping()


async def test_batches_that_fail_for_a_lock_are_no_sign_of_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PING_WITHIN", 0.5)
    store = await open_sqlite(tmp_path / "sharings.db", busy_timeout=0.01)
    other = sqlite3.connect(tmp_path / "sharings.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ping = asyncio.create_task(store.ping())
    while not ping.done():
        with pytest.raises(Unavailable):
            await store.share(scripted(lambda _: None))
    with pytest.raises(Unavailable):
        await ping
    other.close()
    await store.close()
