"""Paths on which no database can be opened: every program says the reason, instead of SQLite's general message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_sharing.store import file_system
from backup_sharing.store.file_system import cause_of
from backup_sharing.store.opening import migrate, open_store, schema_status
from backup_sharing.store.progress import Advance
from backup_sharing.store.sqlite.backup import back_up
from backup_sharing.store.transfer.opening import open_transfer
from backup_sharing.store.unusable import FailingDatabase, UnusableDatabase
from tests.store.commands import NOW


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def below_nothing(path: Path) -> Path:
    return path / "nowhere" / "sharings.db"


def below_a_file(path: Path) -> Path:
    path.write_text("a file", encoding="ascii")
    return path / "sharings.db"


def link_to_nothing(path: Path) -> Path:
    path.symlink_to(path.parent / "nowhere.db")
    return path


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def long_name(path: Path) -> Path:
    return path.parent / ("x" * 300)


CAUSES: dict[Callable[[Path], Path], str] = {
    folder: "it is a folder, expected is a file",
    below_nothing: r"the folder .*nowhere does not exist",
    below_a_file: r"sharings\.db is a file, expected is a folder",
    link_to_nothing: "it is a symbolic link to a file that does not exist",
    link_to_itself: "the file cannot be opened: Too many levels of symbolic links",
    pipe: "it is no regular file",
    long_name: "the file cannot be opened: File name too long",
}


@pytest.fixture(params=CAUSES, ids=lambda make: make.__name__)
def wrong(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Return a path on which no database can be, and the pattern of the reason."""
    return request.param(tmp_path / "sharings.db"), CAUSES[request.param]


def no_bar(_label: str, _length: int) -> Advance:
    raise AssertionError("nothing is copied")


async def test_a_server_is_told_the_reason(wrong: tuple[Path, str]) -> None:
    path, reason = wrong
    with pytest.raises(UnusableDatabase, match=reason) as raised:
        await open_store(str(path))
    assert not isinstance(raised.value, FailingDatabase)


def test_migrations_are_told_the_reason(wrong: tuple[Path, str]) -> None:
    path, reason = wrong
    for work in (migrate, schema_status):
        with pytest.raises(UnusableDatabase, match=reason):
            work(str(path))


def test_backups_and_copies_are_told_the_reason(wrong: tuple[Path, str], tmp_path: Path) -> None:
    path, reason = wrong
    target = tmp_path / "target.db"
    with pytest.raises(UnusableDatabase, match=reason):
        back_up(path, target, replace=False, bar=no_bar)  # type: ignore[arg-type]  # never called
    with pytest.raises(UnusableDatabase, match=reason), open_transfer(str(path), str(target), NOW):
        pass
    assert not target.exists()


@pytest.mark.parametrize("name", ["sharings.db", "sharings.db-wal", "sharings.db-shm"])
def test_a_file_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "sharings.db").touch()
    theirs = tmp_path / name
    theirs.touch()
    monkeypatch.setattr(file_system.os, "access", lambda path, mode: path != theirs or mode == os.R_OK)
    assert cause_of(tmp_path / "sharings.db") == f"this user (uid {os.geteuid()}) may not write {theirs}"


def test_a_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_system.os, "access", lambda path, _: path != tmp_path)
    assert f"may not create files in {tmp_path}," in cause_of(tmp_path / "sharings.db")


def test_a_path_that_is_in_order_has_no_cause(tmp_path: Path) -> None:
    (tmp_path / "sharings.db").touch()
    assert cause_of(tmp_path / "sharings.db") == cause_of(tmp_path / "new.db") == ""
