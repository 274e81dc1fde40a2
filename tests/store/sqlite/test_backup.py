"""Backups of a SQLite file during writes: complete, of one moment, and never a partial file."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.progress import Advance
from backup_sharing.store.sqlite import backup as sqlite_backup
from backup_sharing.store.sqlite.backup import back_up
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import backup, backup_id, cause, share
from tests.store.odd_rows import make, plain_rows, rows
from tests.store.opened import open_sqlite


def bar(_label: str, _length: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda _: None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a database with rows on some hundred pages."""
    path = tmp_path / "sharings.db"
    make(str(path), rows(2_000))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder / "backup.db"


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_backup, "_PAGES", 10)


def files(target: Path) -> list[str]:
    return sorted(each.name for each in target.parent.iterdir())


def test_a_copy_has_the_same_content_and_is_its_owners_only(source: Path, target: Path) -> None:
    size = back_up(source, target, replace=False, bar=bar)
    assert list(plain_rows(target)) == list(plain_rows(source))
    assert (target.stat().st_size, target.stat().st_mode & 0o777) == (size, 0o600)
    assert files(target) == ["backup.db"]


def test_the_bar_gets_all_pages(source: Path, target: Path) -> None:
    reported: list[int] = []

    @contextmanager
    def counting(_label: str, length: int) -> Iterator[Advance]:
        reported.append(-length)
        yield reported.append

    back_up(source, target, replace=False, bar=counting)
    assert reported[0] < -100
    assert sum(reported) == 0


@pytest.mark.resilience
@pytest.mark.usefixtures("small_steps")
async def test_a_copy_under_writes_ends_and_is_of_one_moment(source: Path, target: Path) -> None:
    store = await open_sqlite(source)
    written: list[str] = []
    begun = asyncio.Event()

    async def write() -> None:
        for number in range(10**6):
            await store.put_backup(PutBackup(backup(backup_id(number)), cause()))
            (sharing,) = await store.share(share(backup_id=backup_id(number)))
            written.append(sharing.id)
            begun.set()

    writer = asyncio.create_task(write())
    await begun.wait()
    before = list(written)
    steps = 0

    def wait_for_a_write(_: int) -> None:
        nonlocal steps
        steps += 1
        known, end = len(written), time.monotonic() + 60
        while len(written) == known and time.monotonic() < end:
            time.sleep(0.001)
        assert len(written) > known, "the copy blocks the writer"

    await asyncio.to_thread(back_up, source, target, replace=False, bar=lambda *_: nullcontext(wait_for_a_write))
    assert steps > 5
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await store.close()
    events, backups, sharings, _ = plain_rows(target)
    there = {row[0] for row in sharings}
    assert set(before) <= there
    # A late sharing is in the copy only together with all earlier ones and with its event.
    assert [each in there for each in written] == sorted((each in there for each in written), reverse=True)
    assert {row[8] for row in events if row[6].startswith("00000000-0000-4000")} - {None} == there & set(written)
    assert {row[1] for row in sharings if row[0] in set(written)} <= {row[0] for row in backups}


def test_an_existing_file_is_replaced_only_on_request(source: Path, target: Path) -> None:
    target.write_bytes(b"dear to somebody")
    with pytest.raises(UnusableDatabase, match="already there"):
        back_up(source, target, replace=False, bar=bar)
    assert (target.read_bytes(), files(target)) == (b"dear to somebody", ["backup.db"])
    back_up(source, target, replace=True, bar=bar)
    assert list(plain_rows(target)) == list(plain_rows(source))


def test_a_file_that_came_while_it_was_copied_is_not_replaced(source: Path, target: Path) -> None:
    with pytest.raises(UnusableDatabase, match="already there"):
        back_up(source, target, replace=False, bar=lambda *_: nullcontext(lambda _: target.touch()))
    assert (target.read_bytes(), files(target)) == (b"", ["backup.db"])


def test_a_database_that_is_in_use_is_not_replaced(source: Path, target: Path) -> None:
    make(str(target), rows(4, seed=1))
    with closing(connect(target, busy_timeout=0)) as connection:
        connection.execute("DELETE FROM sharings")
        with pytest.raises(UnusableDatabase, match=r"in use: backup\.db-wal is there"):
            back_up(source, target, replace=True, bar=bar)


def test_the_database_itself_is_no_target(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(source)
    for name in (source, link):
        with pytest.raises(UnusableDatabase, match="is the database itself"):
            back_up(source, name, replace=True, bar=bar)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_copy_that_is_interrupted_leaves_nothing(source: Path, target: Path, error: type[BaseException]) -> None:
    def interrupt(_: int) -> None:
        raise error

    with pytest.raises(error):
        back_up(source, target, replace=False, bar=lambda *_: nullcontext(interrupt))
    assert files(target) == []


SLOW = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from backup_sharing.store.sqlite import backup as sqlite_backup
sqlite_backup._PAGES = 10
step = lambda _: (print("copying", flush=True), time.sleep(0.1))
sqlite_backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]), replace=True, bar=lambda *_: nullcontext(step))
"""


@pytest.mark.resilience
def test_a_killed_backup_leaves_the_old_file_and_the_next_works(source: Path, target: Path) -> None:
    target.write_bytes(b"the last good one")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", SLOW, str(source), str(target)]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == b"copying\n"
        process.kill()
    assert target.read_bytes() == b"the last good one"
    assert "backup.db.partial" in files(target)
    back_up(source, target, replace=True, bar=bar)
    assert list(plain_rows(target)) == list(plain_rows(source))
    assert files(target) == ["backup.db"]


def test_what_a_killed_backup_left_is_replaced(source: Path, target: Path) -> None:
    partial = target.with_name("backup.db.partial")
    partial.write_bytes(os.urandom(10_000_000))
    partial.with_name("backup.db.partial-journal").write_bytes(b"?")
    back_up(source, target, replace=False, bar=bar)
    assert list(plain_rows(target)) == list(plain_rows(source))
    assert files(target) == ["backup.db"]


def test_two_backups_to_one_file_do_not_meet(source: Path, target: Path) -> None:
    partial = target.with_name("backup.db.partial")
    with partial.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UnusableDatabase, match="another backup is writing"):
            back_up(source, target, replace=False, bar=bar)
    assert files(target) == ["backup.db.partial"]


def test_a_disk_that_is_full_is_told_and_leaves_nothing(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_to_little(path: Path, **how: float) -> sqlite3.Connection:
        connection = connect(path, busy_timeout=0, query_only=False)
        if path != source:
            connection.execute("PRAGMA max_page_count = 50")
        return connection

    monkeypatch.setattr(sqlite_backup, "connect", connect_to_little)
    with pytest.raises(UnusableDatabase, match=r"backup\.db\.partial: .*full"):
        back_up(source, target, replace=False, bar=bar)
    assert files(target) == []


def test_a_damaged_database_gives_no_copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'backups'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with source.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(UnusableDatabase, match="damaged"):
        back_up(source, target, replace=False, bar=bar)
    assert files(target) == []


@pytest.mark.parametrize("content", [None, b"something else, and more than a few bytes of it" * 100])
def test_what_is_no_database_gives_no_copy(tmp_path: Path, target: Path, content: bytes | None) -> None:
    source = tmp_path / "other.db"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(UnusableDatabase, match=r"other\.db: (there is no such file|the file is not a SQLite database)"):
        back_up(source, target, replace=False, bar=bar)
    assert files(target) == []


def test_a_folder_that_is_not_there_is_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabase, match=r"cannot be written: the folder .* does not exist"):
        back_up(source, tmp_path / "nowhere" / "backup.db", replace=False, bar=bar)
