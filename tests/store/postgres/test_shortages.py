"""Locks of other sessions, and exhausted connections or disk: unaffected calls continue."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from backup_sharing.errors import DeadlineTooClose, Unavailable
from backup_sharing.rules.commands import OnConflict, PutBackup
from backup_sharing.store.interface import Store
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import (
    BACKUP_ID,
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    backup,
    backup_id,
    cancel,
    cause,
    given,
    key,
    project_id,
    share,
)
from tests.store.engines import PostgresEngine
from tests.store.faults import SLACK, Load, opened, stored_once, timed, until
from tests.store.opened import open_postgres, writers
from tests.support.postgres import folder
from tests.support.postgres.server import PostgresServer
from tests.support.postgres.which import own_server

pytestmark = pytest.mark.resilience


@contextmanager
def session(url: str, *statements: str) -> Iterator[psycopg.Connection]:
    """Yield another session, which has executed the statements in an open transaction."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]  # constants
        yield connection
        connection.rollback()


async def usual_time(store: Store, number: int) -> float:
    """Share a backup 100 times, one by one; return the 90th percentile of the seconds."""
    seconds = []
    for made in range(100):
        took, outcome = await timed(store.share(share(project_id(made), backup_id=backup_id(number))))
        assert not isinstance(outcome, BaseException)
        seconds.append(took)
    return sorted(seconds)[89]


async def test_a_backup_that_somebody_has_locked_holds_up_nobody_else(database_url: str) -> None:
    async with opened(database_url, patience=4.0) as store:
        await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
        with session(database_url, f"SELECT 1 FROM backups WHERE id = '{BACKUP_ID}' FOR UPDATE"):  # noqa: S608 -- a constant
            held = [asyncio.create_task(timed(store.share(share(project_id(number))))) for number in range(20)]
            late = asyncio.create_task(
                timed(store.share(share(OTHER, because=cause(commit_by=time.monotonic() + 0.5))))
            )
            assert await usual_time(store, 2) < 1.0
            for seconds, outcome in await asyncio.gather(*held):
                assert isinstance(outcome, Unavailable)
                assert seconds < 4 + SLACK
            seconds, outcome = await late
            assert isinstance(outcome, DeadlineTooClose)
            assert seconds < 0.5 + SLACK
        assert await store.count_sharings(given(backup_id=BACKUP_ID)) == 0
        await store.share(share())
    stored_once(database_url, [])


async def test_a_sharing_that_somebody_has_locked_holds_up_nobody_else(database_url: str) -> None:
    async with opened(database_url, patience=4.0) as store:
        await store.share(share(RECIPIENT, sharing_ids=["locked"]))
        await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
        with session(database_url, "SELECT 1 FROM sharings WHERE id = 'locked' FOR UPDATE"):
            held = asyncio.create_task(timed(store.cancel(cancel("locked"))))
            assert await usual_time(store, 2) < 1.0
            seconds, outcome = await held
            assert isinstance(outcome, Unavailable)
            assert seconds < 4 + SLACK
        await store.cancel(cancel("locked"))
    stored_once(database_url, [])


async def test_a_key_that_somebody_is_storing_holds_up_nobody_else(database_url: str) -> None:
    values = f"('{cause().project_id}', 'Method', 'key', '', '[]', 0)"
    insert = f"INSERT INTO idempotency_keys VALUES {values}"  # noqa: S608 -- constants
    async with opened(database_url, patience=4.0) as store:
        await store.put_backup(PutBackup(backup(backup_id(2)), cause()))
        with session(database_url, insert):
            held = asyncio.create_task(timed(store.share(share(idempotency=key()))))
            assert await usual_time(store, 2) < 1.0
            assert isinstance((await held)[1], Unavailable)
        await store.share(share(idempotency=key()))
    stored_once(database_url, [])


async def test_more_slow_reads_than_connections_are_unavailable(database_url: str) -> None:
    async with opened(database_url, patience=1.0, read_connections=2) as store:
        await store.share(share())
        with session(database_url, "LOCK TABLE sharings IN ACCESS EXCLUSIVE MODE"):
            reads = await asyncio.gather(*(timed(store.count_sharings(given())) for _ in range(10)))
        assert all(isinstance(outcome, Unavailable) for _, outcome in reads)
        assert max(seconds for seconds, _ in reads) < 1 + SLACK
        assert await until(lambda: store.count_sharings(given())) < SLACK
        counts = await asyncio.gather(*(store.count_sharings(given()) for _ in range(50)))
        assert counts == [1] * 50


async def test_a_server_out_of_connections_is_unavailable_then_served(own_postgres: PostgresServer) -> None:
    async with opened(own_postgres.url, patience=0.7, read_connections=2) as store:
        own_postgres.execute("CREATE ROLE many LOGIN SUPERUSER")
        own_postgres.configure("superuser_reserved_connections", "0")
        await asyncio.to_thread(own_postgres.cut_connections)
        others = []
        with suppress(psycopg.OperationalError):
            for _ in range(300):
                others.append(await asyncio.to_thread(psycopg.connect, own_postgres.url))
        assert len(others) > 100
        calls = (store.share(share()), store.get_backup(BACKUP_ID), store.ping())
        for seconds, outcome in await asyncio.gather(*map(timed, calls)):
            assert isinstance(outcome, Unavailable)
            assert seconds < 0.7 + SLACK
        for other in others:
            other.close()
        assert await until(store.ping) < 1 + SLACK
        assert await until(lambda: store.share(share())) < 1 + SLACK
    stored_once(own_postgres.url, [])


async def test_a_server_that_turns_read_only_serves_reads_then_changes(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    async with opened(database_url, patience=0.7) as store:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # type: ignore[call-overload]  # a constant
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            seconds, outcome = await timed(store.share(share()))
            assert isinstance(outcome, Unavailable)
            assert seconds < 0.7 + SLACK
            assert (await store.get_backup(BACKUP_ID)).id == BACKUP_ID
            with pytest.raises(Unavailable):
                await store.ping()
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")  # type: ignore[call-overload]  # a constant
        assert await until(lambda: store.share(share())) < SLACK


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mount a disk of 96 MB, on which new servers store their data."""
    disk = Path(tempfile.mkdtemp(prefix="small-disk-", dir="/tmp"))
    disk.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=1777", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        disk.rmdir()
        pytest.skip("not allowed to mount a small disk")
    monkeypatch.setattr(folder, "_parents", lambda *, on_disk: iter([disk]))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
    disk.rmdir()


@pytest.fixture
def cramped_postgres(small_disk: Path) -> Iterator[PostgresServer]:
    server = own_server()
    yield server
    server.close()


async def test_changes_on_a_full_disk_are_unavailable_and_then_made(
    cramped_postgres: PostgresServer, small_disk: Path
) -> None:
    server, ballast = cramped_postgres, small_disk / "ballast"
    async with opened(server.url, patience=1.0) as store:
        load = Load([store])
        await load.begin(writers=4, readers=1)
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        end = time.monotonic() + 60
        while not load.failures:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert (await timed(store.share(share(OTHER))))[0] < 5 + SLACK
        ballast.unlink()
        # PostgreSQL exits when it cannot write its log; the operator restarts it.
        if server._running().poll() is not None:
            server._process = None
            await asyncio.to_thread(server.start)
        await load.more(20)
        await load.end()
    stored_once(server.url, load.acknowledged)


async def test_no_password_is_logged_or_told(own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "s3cr3t-hunter2"
    url = own_postgres.url.replace("postgres@", f"postgres:{secret}@")
    async with opened(url, patience=0.3) as store:
        await asyncio.to_thread(own_postgres.kill)
        for call in (store.share(share()), store.get_backup(BACKUP_ID), store.ping()):
            _, outcome = await timed(call)
            assert secret not in repr(outcome)
    away = await open_postgres(url, patience=0.3)
    await away.close()
    for wrong in (f"postgre://u:{secret}@h/d", f"postgresql://u:{secret}@h/d?x=1", f"postgresql://u:p@h/d?{secret}=1"):
        with pytest.raises(UnusableDatabase) as refused:
            await open_postgres(wrong)
        assert secret not in str(refused.value)
    assert secret not in caplog.text
    await asyncio.to_thread(own_postgres.start)


async def test_what_is_acknowledged_is_durable_whatever_the_default(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    PostgresEngine(database_url, None)._rows(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with opened(database_url) as store:
        connection = await writers(store)[0]._session.opened(lambda: True)
        assert connection is not None
        assert await (await connection.execute("SHOW synchronous_commit")).fetchall() == [("on",)]


async def test_expired_keys_go_faster_than_new_ones_come(database_url: str) -> None:
    engine = PostgresEngine(database_url, None)
    async with opened(database_url) as store:
        for turn in range(6):
            now = NOW + turn * 120 * SECOND  # the keys of the previous turn have expired
            calls = [
                store.share(
                    share(
                        project_id(turn * 300 + n),
                        on_conflict=OnConflict.RETURN if turn > 2 else OnConflict.REFUSE,
                        because=cause(now),
                        idempotency=key(f"{turn}-{n}", expires_at=now + 60 * SECOND),
                    )
                )
                for n in range(200)
            ]
            await asyncio.gather(*calls)
            assert len(engine._rows("SELECT 1 FROM idempotency_keys")) <= 400
        await store.share(share(project_id(9000), because=cause(now), idempotency=key("last", expires_at=now + SECOND)))
    assert len(engine._rows("SELECT 1 FROM idempotency_keys")) <= 201


async def test_text_that_is_no_unicode_fails_by_itself(database_url: str) -> None:
    async with opened(database_url) as store:
        calls = [store.share(share(project_id(n))) for n in range(20)]
        outcomes = await asyncio.gather(
            store.put_backup(PutBackup(backup(backup_id(2), name="\ud800"), cause())), *calls, return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] + [list] * 20
    stored_once(database_url, [])


async def test_one_fault_of_the_server_is_logged_once_for_all_calls(
    database_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*arguments: object) -> None:
        raise psycopg.errors.DiskFull("could not extend file")

    async with opened(database_url) as store:
        monkeypatch.setattr("backup_sharing.store.postgres.shares.Assumed.write", full)
        caplog.clear()
        calls = [store.share(share(project_id(n))) for n in range(100)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        assert len(caplog.records) <= 2
        monkeypatch.undo()
        await store.share(share())


async def test_reads_that_nobody_waits_for_give_their_connections_back(database_url: str) -> None:
    async with opened(database_url, patience=30.0, read_connections=1) as store:
        with session(database_url, "LOCK TABLE sharings IN ACCESS EXCLUSIVE MODE"):
            for _ in range(5):
                reading = asyncio.create_task(store.count_sharings(given()))
                await waiting_for_a_lock(database_url)
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
                assert (await store.get_backup(BACKUP_ID)).id == BACKUP_ID


async def waiting_for_a_lock(url: str) -> None:
    """Return when a session of the database waits for a lock."""
    async with asyncio.timeout(60):
        while not PostgresEngine(url, None)._rows(  # noqa: ASYNC110 - there is no event for it
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
