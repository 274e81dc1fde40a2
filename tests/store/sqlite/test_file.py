"""Files that the SQLite store opens, creates and refuses."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.errors import StoredDataUnreadable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.sqlite import file as sqlite_file
from backup_sharing.store.sqlite.file import MIGRATION_SET
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import BACKUP_ID, backup, cause, share
from tests.store.opened import open_sqlite

# ruff: noqa: ASYNC240 -- a test may block its loop

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder? with #signs%20" / "sharings.db"


@pytest.fixture(autouse=True)
def folder(path: Path) -> None:
    path.parent.mkdir()


async def test_a_new_database_and_its_log_are_their_owners_only(path: Path) -> None:
    store = await open_sqlite(path)
    await store.put_backup(PutBackup(backup(), cause()))
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    await store.close()


async def test_after_close_everything_is_in_the_database_file_itself(path: Path) -> None:
    store = await open_sqlite(str(path))
    await store.put_backup(PutBackup(backup(), cause()))
    await store.close()
    assert list(path.parent.iterdir()) == [path]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM backups").fetchall() == [(BACKUP_ID,)]


async def test_a_database_that_a_newer_program_made_is_refused(path: Path) -> None:
    await (await open_sqlite(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, '9999_from_the_future', '')",
            (MIGRATION_SET,),
        )
    with pytest.raises(UnusableDatabase, match=r"sharings\.db.*newer version.*9999_from_the_future"):
        await open_sqlite(path)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"some other file\n" * 1000)
    with pytest.raises(UnusableDatabase, match=r"sharings\.db: the file is not a SQLite database"):
        await open_sqlite(path)
    assert path.read_bytes() == b"some other file\n" * 1000


async def test_a_folder_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(UnusableDatabase, match=r"sharings\.db"):
        await open_sqlite(path)


async def test_a_file_in_a_folder_that_does_not_exist_is_refused(path: Path) -> None:
    with pytest.raises(UnusableDatabase, match=r"nowhere"):
        await open_sqlite(path.parent / "nowhere" / "sharings.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write every file")
async def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    await (await open_sqlite(path)).close()
    path.chmod(0o400)
    with pytest.raises(UnusableDatabase, match=r"sharings\.db"):
        await open_sqlite(path)


async def test_a_database_that_stays_locked_is_refused(path: Path) -> None:
    await (await open_sqlite(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnusableDatabase, match="locked by another process"):
            await open_sqlite(path, busy_timeout=0.1)


async def test_a_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "OLDEST_SQLITE", (99, 0, 0))
    with pytest.raises(UnusableDatabase, match="too old"):
        await open_sqlite(path)


async def test_stored_text_that_is_not_unicode_is_unreadable(path: Path) -> None:
    store = await open_sqlite(path)
    await store.put_backup(PutBackup(backup(), cause()))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE backups SET name = CAST(x'ff' AS TEXT), project_id = CAST(x'ff' AS TEXT)")
    for call in (store.get_backup(BACKUP_ID), store.share(share())):
        with pytest.raises(StoredDataUnreadable):
            await call
    await store.close()


async def test_no_drivers_exception_may_leave_a_store_for_a_defect(path: Path) -> None:
    store = await open_sqlite(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE backups")
    for call in (store.get_backup(BACKUP_ID), store.share(share())):
        with pytest.raises(RuntimeError, match="wrongly") as raised:
            await call
        assert "backups" not in str(raised.value)
    await store.close()
