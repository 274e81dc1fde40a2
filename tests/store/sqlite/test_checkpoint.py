"""No checkpoint loses a commit, on any version of SQLite and beside any other process."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from backup_sharing.store.sqlite.checkpoint import Copied, begin_again, checkpoint, reading
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.log import log_path, log_use
from tests.store import log_reset_process
from tests.store.faulty_disk import build


def has_the_race(version: tuple[int, ...]) -> bool:
    """Return whether this version of SQLite has the race, according to SQLite's documentation."""
    return version < (3, 51, 3) and not ((3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("library"))


def race(library: Path, path: Path, way: str) -> str:
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, log_reset_process.__file__, str(path), way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", ["guarded", "guarded before"])
def test_a_log_that_begins_again_in_a_checkpoint_loses_nothing(library: Path, tmp_path: Path, way: str) -> None:
    assert race(library, tmp_path / "commits.db", way) == "all are left"


@pytest.mark.skipif(not has_the_race(sqlite3.sqlite_version_info), reason="this SQLite does not have the race")
def test_without_a_guard_it_does(library: Path, tmp_path: Path) -> None:
    assert race(library, tmp_path / "commits.db", "unguarded") == "some are lost"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, padding BLOB)")
    return path


@pytest.fixture
def connections(path: Path) -> Iterator[list[sqlite3.Connection]]:
    with ExitStack() as opened:
        yield [opened.enter_context(closing(connect(path, busy_timeout=0))) for _ in range(3)]


def insert(connection: sqlite3.Connection, pages: int = 1) -> None:
    connection.execute("INSERT INTO numbers (padding) VALUES (zeroblob(?))", (4096 * pages,))


def test_a_connection_makes_no_checkpoint_by_itself(path: Path, connections: list[sqlite3.Connection]) -> None:
    before = path.read_bytes()
    for _ in range(3):
        insert(connections[0], pages=1500)
    assert path.read_bytes() == before


def test_the_log_begins_again_when_all_is_copied(path: Path, connections: list[sqlite3.Connection]) -> None:
    writing, copying, guard = connections
    insert(writing, pages=20)
    generation = log_use(log_path(path)).generation
    assert checkpoint(copying, guard, "PASSIVE").everything
    assert begin_again(copying, guard, "RESTART", wait=0)
    insert(writing)
    assert log_use(log_path(path)).generation != generation
    assert begin_again(copying, guard, "TRUNCATE", wait=0)
    assert log_path(path).stat().st_size == 0


def test_a_reader_keeps_the_log_until_it_is_done(path: Path, connections: list[sqlite3.Connection]) -> None:
    writing, copying, guard = connections
    insert(writing)
    with closing(connect(path, busy_timeout=0)) as other:
        with reading(other):
            insert(writing)
            assert not begin_again(copying, guard, "RESTART", wait=0.01)
        assert begin_again(copying, guard, "RESTART", wait=0)


def test_a_writer_keeps_the_log_until_it_is_done(path: Path, connections: list[sqlite3.Connection]) -> None:
    writing, copying, guard = connections
    insert(writing)
    writing.execute("BEGIN IMMEDIATE")
    assert not begin_again(copying, guard, "TRUNCATE", wait=0.01)
    writing.execute("ROLLBACK")
    assert begin_again(copying, guard, "TRUNCATE", wait=0)


def test_a_checkpoint_that_fails_lets_go_of_its_guard(path: Path, connections: list[sqlite3.Connection]) -> None:
    writing, copying, guard = connections
    insert(writing)
    copying.execute("BEGIN")
    copying.execute("SELECT 1 FROM numbers").fetchall()
    with pytest.raises(sqlite3.OperationalError):
        checkpoint(copying, guard, "PASSIVE")
    assert not guard.in_transaction
    copying.execute("ROLLBACK")
    frames = log_use(log_path(path)).frames
    assert checkpoint(copying, guard, "PASSIVE") == Copied(finished=True, frames=frames, done=frames)
