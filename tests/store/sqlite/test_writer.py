"""The single writer thread of the SQLite store, as its callers see it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from backup_sharing.errors import DeadlineTooClose, OutcomeUnknown, Unavailable
from backup_sharing.store.change import Change
from backup_sharing.store.interface import Store
from backup_sharing.store.sqlite import batch as sqlite_batch
from backup_sharing.store.sqlite import engine as sqlite_engine
from backup_sharing.store.sqlite import writer as sqlite_writer
from tests.store.opened import open_sqlite, parts
from tests.store.sqlite.scripted import change as made_up
from tests.store.sqlite.scripted import make_scripted, scripted
from tests.support.programs import PATIENCE

T = TypeVar("T")

pytestmark = pytest.mark.asyncio


class Changes:
    """A store whose changes have a test's own effect on the connection."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def make(self, run: Callable[[sqlite3.Connection], T], commit_by: float | None = None, **by: float) -> T:
        return await self.store.share(scripted(run, commit_by, **by))  # type: ignore[return-value]  # scripted

    async def close(self) -> None:
        await self.store.close()


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_batch, "make", make_scripted)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sharings.db"


@pytest_asyncio.fixture
async def writer(path: Path) -> AsyncIterator[Changes]:
    store = await open_sqlite(path, max_waiting=1000, max_batch=10, commit_delay=0.0)
    yield Changes(store)
    await store.close()


@pytest.fixture
def connection(writer: Changes) -> sqlite3.Connection:
    return parts(writer.store).writer._connection


def change(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT 1").fetchone()[0])


async def test_what_waits_is_committed_in_bounded_batches_one_wake_up(
    writer: Changes, connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakes = 0
    wake = asyncio.get_running_loop().call_soon_threadsafe

    def counted(*arguments: object, **named: object) -> asyncio.Handle:
        nonlocal wakes
        wakes += 1
        return wake(*arguments, **named)  # type: ignore[arg-type]  # passed through

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(writer.make(change))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(writer.make(change)) for _ in range(25)]
        await asyncio.sleep(0)
        monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", counted)
        commits: list[str] = []
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    assert await asyncio.gather(first, *rest) == [1] * 26
    assert len(commits) == wakes == 4


async def test_changes_run_in_one_thread_in_the_order_of_their_calls(writer: Changes) -> None:
    seen: list[tuple[int, str]] = []

    async def ask(number: int) -> None:
        await writer.make(lambda _: seen.append((number, threading.current_thread().name)))

    await asyncio.gather(*(ask(number) for number in range(30)))
    assert seen == [(number, "sqlite-writer") for number in range(30)]


async def test_the_loop_runs_on_while_a_change_is_made(writer: Changes) -> None:
    release = threading.Event()
    waiting = asyncio.create_task(writer.make(lambda _: release.wait(PATIENCE)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    release.set()
    assert await waiting


async def test_a_defect_reaches_the_callers_and_the_thread_goes_on(
    writer: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_writer, "carry_out", defect)
        with pytest.raises(AssertionError):
            await writer.make(change)
    assert await writer.make(change) == 1


class StalledCommits:
    """Block the writer before its COMMIT, like a hanging disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.reached, self._release = threading.Event(), threading.Event()
        connection.set_trace_callback(self._hold)

    def _hold(self, statement: str) -> None:
        if statement == "COMMIT":
            self.reached.set()
            self._release.wait(30)

    def release(self) -> None:
        self._release.set()


@pytest.fixture
def stalled(connection: sqlite3.Connection) -> Iterator[StalledCommits]:
    stalled = StalledCommits(connection)
    yield stalled
    stalled.release()


def keep(name: str) -> Callable[[sqlite3.Connection], None]:
    statement = "INSERT INTO backups (id, project_id, status) VALUES (?, 'p', 'available')"
    return lambda connection: connection.execute(statement, (name,)) and None


async def kept(writer: Changes) -> list[str]:
    query = "SELECT id FROM backups ORDER BY id"
    return await writer.make(lambda connection: [name for (name,) in connection.execute(query)])


async def test_a_commit_stalled_past_the_deadline_is_unknown(writer: Changes, stalled: StalledCommits) -> None:
    soon = time.monotonic() + 3.0  # the commit must have begun by then
    with pytest.raises(OutcomeUnknown):
        await writer.make(keep("begun"), soon, answer_by=soon)
    assert stalled.reached.is_set()
    stalled.release()
    assert await kept(writer) == ["begun"]


async def test_a_change_behind_a_stalled_commit_is_refused_for_good(writer: Changes, stalled: StalledCommits) -> None:
    begun = asyncio.create_task(writer.make(keep("begun")))
    await asyncio.to_thread(stalled.reached.wait, 30)
    with pytest.raises(DeadlineTooClose):
        await writer.make(keep("late"), time.monotonic() + 0.01, answer_by=time.monotonic() + 30)
    stalled.release()
    await begun
    assert await kept(writer) == ["begun"]


async def test_a_change_refused_just_before_its_commit_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engine, "_BATCH_SECONDS", 0.05)
    writer = Changes(await open_sqlite(path, busy_timeout=0, commit_delay=1.0))
    refused = threading.Event()

    def made_as_it_is_refused(connection: sqlite3.Connection) -> None:
        keep("late")(connection)
        refused.wait(30)

    late = asyncio.create_task(writer.make(made_as_it_is_refused))
    late.add_done_callback(lambda _: refused.set())
    with pytest.raises(Unavailable, match="nothing was stored"):
        await late
    await writer.close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT id FROM backups").fetchall() == []


async def test_a_caller_cancelled_during_its_change_disturbs_no_other(
    writer: Changes,
) -> None:
    gather, begun, release = threading.Event(), threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        release.wait(PATIENCE)

    first = asyncio.create_task(writer.make(lambda _: gather.wait(PATIENCE)))
    await asyncio.sleep(0.05)
    cancelled = asyncio.create_task(writer.make(slow))
    other = asyncio.create_task(writer.make(change))
    await asyncio.sleep(0)
    gather.set()
    await asyncio.to_thread(begun.wait, PATIENCE)
    cancelled.cancel()
    release.set()
    assert await asyncio.wait_for(other, PATIENCE) == 1
    assert await first
    assert cancelled.cancelled()


async def test_one_writer_serves_callers_of_several_loops(writer: Changes) -> None:
    async def ask() -> object:
        batch = [made_up(change)]
        await parts(writer.store).writer.commit(batch)
        return await batch[0].answered

    answers = await asyncio.gather(ask(), asyncio.to_thread(asyncio.run, ask()), ask())
    assert list(answers) == [1, 1, 1]


async def test_a_loop_that_is_gone_does_not_stop_the_thread(writer: Changes) -> None:
    release = threading.Event()

    async def ask() -> None:
        await parts(writer.store).writer.commit([made_up(lambda _: release.wait(PATIENCE))])

    def leave_early() -> None:
        loop = asyncio.new_event_loop()
        left = loop.create_task(ask())
        loop.run_until_complete(asyncio.sleep(0.05))
        left.cancel()
        loop.run_until_complete(asyncio.gather(left, return_exceptions=True))
        loop.close()

    await asyncio.to_thread(leave_early)
    release.set()
    assert await writer.make(change) == 1


@pytest.fixture
def batches() -> list[int]:
    """The size of each batch of `patient_writer`."""
    return []


@pytest_asyncio.fixture
async def patient_writer(path: Path, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Changes]:
    """Yield a store that waits for expected changes longer than any test runs."""
    made = sqlite_writer.carry_out

    def counted(connection: sqlite3.Connection, changes: Sequence[Change], *arguments: Any) -> object:  # noqa: ANN401 -- passed through
        batches.append(len(changes))
        return made(connection, changes, *arguments)

    monkeypatch.setattr(sqlite_writer, "carry_out", counted)
    store = await open_sqlite(path, max_waiting=1000, max_batch=4, commit_delay=3600)
    yield Changes(store)
    await store.close()


async def test_a_caller_that_is_alone_waits_for_no_other(patient_writer: Changes, batches: list[int]) -> None:
    for _ in range(5):
        await asyncio.wait_for(patient_writer.make(change), PATIENCE)
    assert batches == [1] * 5


async def expect_four(writer: Changes) -> list[asyncio.Task[int]]:
    """Answer one change while three wait, so that the store expects four next; return the three."""
    begun, release = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        release.wait(PATIENCE)

    first = asyncio.create_task(writer.make(slow))
    await asyncio.to_thread(begun.wait, PATIENCE)
    three = [asyncio.create_task(writer.make(change)) for _ in range(3)]
    await asyncio.sleep(0)
    release.set()
    await first
    return three


async def test_changes_apart_share_a_commit_if_many_came_before(patient_writer: Changes, batches: list[int]) -> None:
    tasks = await expect_four(patient_writer)
    for _ in range(5):
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(patient_writer.make(change)))
    assert await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE) == [1] * 8
    assert batches == [1, 4, 4]


async def test_a_writer_that_is_closed_waits_for_no_more_changes(patient_writer: Changes) -> None:
    tasks = await expect_four(patient_writer)
    await asyncio.wait_for(patient_writer.close(), PATIENCE)
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(failure) for failure in failures] == [Unavailable] * 3


async def test_fewer_callers_than_before_wait_no_longer_than_the_delay(path: Path) -> None:
    writer = Changes(await open_sqlite(path, max_waiting=1000, max_batch=4, commit_delay=0.01))
    await asyncio.wait_for(asyncio.gather(*await expect_four(writer)), PATIENCE)
    for _ in range(5):
        await asyncio.wait_for(writer.make(change), PATIENCE)
    await writer.close()


async def test_a_closed_writer_refuses(writer: Changes) -> None:
    await asyncio.to_thread(parts(writer.store).writer.close)
    with pytest.raises(Unavailable):
        await writer.make(change)
    with pytest.raises(Unavailable):
        await parts(writer.store).writer.commit([made_up(change)])
