"""Rows of others and missing rows lead to the same statements, so that timing reveals nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.errors import BackupNotFound, SharingNotFound
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.sqlite import reads as sqlite_reads
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from tests.store import commands
from tests.store.sqlite.scripted import ask, make

SHARING_ID = "01900000-0000-7000-8000-000000000001"
UNKNOWN = "01900000-0000-7000-8000-00000000ffff"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        make(connection, PutBackup(commands.backup(), commands.cause()))
        make(connection, commands.share(sharing_ids=[SHARING_ID]))
        yield connection


def statements(connection: sqlite3.Connection, ask: Callable[[], object]) -> list[str]:
    """Return the statements for a call that raises "not found", with its values replaced by "?"."""
    found: list[str] = []
    connection.set_trace_callback(found.append)
    with pytest.raises((BackupNotFound, SharingNotFound)):
        ask()
    connection.set_trace_callback(None)
    hidden = (SHARING_ID, UNKNOWN, commands.BACKUP_ID, commands.backup_id(9), commands.STRANGER, commands.GIVER)
    for number, text in enumerate(found):
        for value in hidden:
            found[number] = text = text.replace(value, "?")
    return found


def test_a_sharing_of_others_is_read_as_one_that_is_not_there(connection: sqlite3.Connection) -> None:
    def get(sharing_id: str) -> list[str]:
        return statements(connection, lambda: ask(connection, sqlite_reads.get_sharing(commands.STRANGER, sharing_id)))

    assert get(SHARING_ID) == get(UNKNOWN) != []


def test_cancelling_anothers_sharing_looks_like_a_missing_one(connection: sqlite3.Connection) -> None:
    def cancel(sharing_id: str) -> list[str]:
        command = commands.cancel(sharing_id, commands.STRANGER)
        return statements(connection, lambda: make(connection, command))

    assert cancel(SHARING_ID) == cancel(UNKNOWN) != []


def test_anothers_backup_is_treated_like_a_missing_one(connection: sqlite3.Connection) -> None:
    def shared(backup_id: str) -> list[str]:
        command = commands.share(backup_id=backup_id, giver=commands.STRANGER, sharing_ids=["x"])
        return statements(connection, lambda: make(connection, command))

    def cancelled(backup_id: str) -> list[str]:
        command = commands.cancel_all(backup_id, commands.STRANGER)
        return statements(connection, lambda: make(connection, command))

    assert shared(commands.BACKUP_ID) == shared(commands.backup_id(9)) != []
    assert cancelled(commands.BACKUP_ID) == cancelled(commands.backup_id(9)) != []
