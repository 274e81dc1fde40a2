"""How the SQLite store keeps its idempotency keys few."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.errors import StoredDataUnreadable
from server.model import Sharing
from server.store.sqlite_connection import connect
from server.store.sqlite_file import prepare
from server.store.sqlite_idempotency import earlier_call, remember
from tests.store.commands import NOW, cause, key


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM idempotency_keys").fetchone()[0])


def test_writing_a_key_drops_a_few_expired_keys_and_no_others(connection: sqlite3.Connection) -> None:
    for number in range(20):
        remember(connection, cause(), key(f"expired {number}", expires_at=NOW + 1), [])
        remember(connection, cause(), key(f"valid {number}", expires_at=NOW + 2), [])
    counts = []
    for number in range(3):
        remember(connection, cause(NOW + 1), key(f"new {number}", expires_at=NOW + 9), [])
        counts.append(count(connection))
    assert counts == [40 - 16 + 1, 40 - 20 + 2, 40 - 20 + 3]
    for number in range(20):
        assert earlier_call(connection, cause(NOW + 1), key(f"valid {number}"))
        assert not earlier_call(connection, cause(NOW + 1), key(f"expired {number}"))


def test_an_expired_key_can_be_used_again_before_it_is_dropped(connection: sqlite3.Connection) -> None:
    for number in range(40):
        remember(connection, cause(), key(f"{number}", expires_at=NOW + number), [])
    remember(connection, cause(NOW + 39), key("39", b"another", expires_at=NOW + 99), [])
    earlier = earlier_call(connection, cause(NOW + 39), key("39", b"another"))
    assert earlier is not None
    assert earlier.same


def test_an_answer_is_given_again_as_it_was(connection: sqlite3.Connection) -> None:
    answer = [Sharing("1", "backup", "ä", "b", 5), Sharing("2", "backup", "a", "c", -5, 6, 7)]
    remember(connection, cause(), key(), answer)
    earlier = earlier_call(connection, cause(), key())
    assert earlier is not None
    assert earlier.answer() == answer


@pytest.mark.parametrize("text", ["", "[", "5", "[5]", '[{"id": "1"}]', '[{"unknown": 1}]'])
def test_a_stored_answer_that_cannot_be_read_says_so(connection: sqlite3.Connection, text: str) -> None:
    remember(connection, cause(), key(), [])
    connection.execute("UPDATE idempotency_keys SET answer = ?", (text,))
    earlier = earlier_call(connection, cause(), key())
    assert earlier is not None
    with pytest.raises(StoredDataUnreadable):
        earlier.answer()
