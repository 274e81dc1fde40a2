"""Databases on read-only and on full file systems: what can be read is read, and any refusal has the true reason."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from backup_sharing.store.file_system import FULL, READ_ONLY
from backup_sharing.store.opening import migrate
from backup_sharing.store.progress import Advance
from backup_sharing.store.sqlite import connection as sqlite_connection
from backup_sharing.store.sqlite.backup import back_up
from backup_sharing.store.transfer.opening import open_transfer
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import NOW
from tests.support.mounts import COMMAND, SERVER, read_only, run, small

pytestmark = pytest.mark.outside

ADD = "INSERT INTO backups (id, project_id, status) VALUES (?, 'p', 'available')"


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Return a folder with a database that holds one backup."""
    folder = tmp_path / "media"
    folder.mkdir()
    migrate(str(folder / "sharings.db"))
    with closing(sqlite3.connect(folder / "sharings.db")) as connection:
        connection.execute(ADD, ("in-file",))
        connection.commit()
    return folder


def leave_log(media: Path, *suffixes: str) -> None:
    """Add a backup that is in the log only, and leave files as a killed process does."""
    living = media.parent / "living.db"
    shutil.copy(media / "sharings.db", living)
    with closing(sqlite3.connect(living)) as connection:
        connection.execute(ADD, ("in-log",))
        connection.commit()
        for suffix in ("", *suffixes):
            shutil.copy(f"{living}{suffix}", f"{media / 'sharings.db'}{suffix}")


def backups_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [str(name) for (name,) in connection.execute("SELECT id FROM backups ORDER BY id")]


def use(media: Path, command: str) -> CompletedProcess[str]:
    """Run a command that names the database DB and a folder OUT, while the database's file system is read-only."""
    out = media.parent / "out"
    out.mkdir(exist_ok=True)
    return run(read_only(media), command.replace("DB", str(media / "sharings.db")).replace("OUT", str(out)))


def test_a_database_on_a_read_only_mount_is_read(media: Path) -> None:
    status = use(media, f"{COMMAND} migrate status --database DB")
    assert (status.returncode, status.stdout.split()[0]) == (0, "applied"), status.stderr
    saved = use(media, f"{COMMAND} backup --database DB --to OUT/saved.db")
    assert saved.returncode == 0, saved.stderr
    copied = use(media, f"{COMMAND} copy --from DB --to OUT/copied.db")
    assert copied.returncode == 0, copied.stderr
    out = media.parent / "out"
    assert backups_in(out / "saved.db") == backups_in(out / "copied.db") == ["in-file"]
    assert [file.name for file in media.iterdir()] == ["sharings.db"]


def test_the_log_on_a_read_only_mount_is_read_too(media: Path) -> None:
    leave_log(media, "-wal", "-shm")
    saved = use(media, f"{COMMAND} backup --database DB --to OUT/saved.db")
    assert saved.returncode == 0, saved.stderr
    assert backups_in(media.parent / "out" / "saved.db") == ["in-file", "in-log"]


@pytest.mark.parametrize("command", ["migrate status --database DB", "backup --database DB --to OUT/saved.db"])
def test_a_log_that_cannot_be_read_is_not_left_out(media: Path, command: str) -> None:
    leave_log(media, "-wal")
    refused = use(media, f"{COMMAND} {command}")
    assert refused.returncode == 1
    assert f"{READ_ONLY}, and its write-ahead log has changes" in refused.stderr


def test_a_database_in_use_is_read_by_a_read_only_mount(media: Path) -> None:
    with closing(sqlite3.connect(media / "sharings.db")) as connection:
        connection.execute(ADD, ("in-log",))
        connection.commit()
        saved = use(media, f"{COMMAND} backup --database DB --to OUT/saved.db")
    assert saved.returncode == 0, saved.stderr
    assert backups_in(media.parent / "out" / "saved.db") == ["in-file", "in-log"]


@pytest.mark.parametrize("suffixes", [(), ("-wal", "-shm")], ids=["closed", "killed"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{COMMAND} migrate apply --database DB", 1),
        (f"{SERVER} --database DB --tokens OUT/tokens --grpc-listen unix:OUT/socket", 2),
        (f"{SERVER} --database DB.new --tokens OUT/tokens --grpc-listen unix:OUT/socket", 2),
    ],
    ids=["migrate", "server", "new"],
)
def test_writing_to_a_read_only_mount_is_refused(
    media: Path, command: str, code: int, suffixes: tuple[str, ...]
) -> None:
    leave_log(media, *suffixes)
    refused = use(media, f"echo '{{\"tokens\": []}}' > OUT/tokens; {command}")
    assert refused.returncode == code
    assert READ_ONLY in refused.stderr


def test_a_copy_to_a_read_only_mount_is_refused(media: Path) -> None:
    migrate(str(media.parent / "other.db"))
    with closing(sqlite3.connect(media.parent / "other.db")) as connection:
        connection.execute(ADD, ("in-file",))
        connection.execute(ADD, ("new",))
        connection.commit()
    refused = use(media, f"{COMMAND} copy --from {media.parent / 'other.db'} --to DB")
    assert refused.returncode == 1
    assert f"sharings.db: {READ_ONLY}" in refused.stderr


@pytest.mark.parametrize(
    "command", ["migrate apply --database FULL", "backup --database DB --to FULL", "copy --from DB --to FULL"]
)
@pytest.mark.parametrize("kib", [4, 64])
def test_a_full_disk_is_said(media: Path, command: str, kib: int) -> None:
    full = media.parent / "full"
    full.mkdir()
    named = command.replace("FULL", str(full / "new.db")).replace("DB", str(media / "sharings.db"))
    refused = run(small(full, kib), f"{COMMAND} {named}")
    assert refused.returncode == 1
    assert FULL in refused.stderr


def test_a_server_on_a_full_disk_says_so_and_waits_for_room(media: Path) -> None:
    full, log = media.parent / "full", media.parent / "log"
    full.mkdir()
    (media.parent / "tokens").write_text('{"tokens": []}', encoding="ascii")
    settings = f"--database {full}/new.db --tokens {media.parent}/tokens --grpc-listen unix:{media.parent}/socket"
    started = run(
        small(full, 64),
        f"{SERVER} {settings} > {log} 2>&1 &",
        f"until grep -q 'cannot be opened' {log}; do sleep 0.1; done",
        f"mount -o remount,size=100m {full}",
        f"until grep -q 'is open again' {log}; do sleep 0.1; done",
        "kill $!; wait $!",
    )
    assert started.returncode == 0, log.read_text(encoding="utf-8")
    assert f"new.db: {FULL}" in log.read_text(encoding="utf-8")


def test_a_change_by_another_mount_spoils_a_backup_and_a_copy(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = media / "sharings.db", media.parent / "saved.db"
    monkeypatch.setattr(sqlite_connection, "is_read_only", lambda path: path == source)

    def change() -> None:
        with closing(sqlite3.connect(source)) as connection:
            connection.execute(ADD, ("later",))
            connection.commit()

    @contextmanager
    def changing(_label: str, _length: int) -> Iterator[Advance]:
        change()
        yield lambda _: None

    with pytest.raises(UnusableDatabase, match="changed by another mount"):
        back_up(source, target, replace=False, bar=changing)
    assert not target.exists()
    copying = open_transfer(str(source), str(media.parent / "copied.db"), NOW)
    with pytest.raises(UnusableDatabase, match="changed by another mount"), copying:
        source.touch()
