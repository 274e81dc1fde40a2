"""The SQLite store removes expired idempotency keys, and reports damaged ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backup_sharing.errors import StoredDataUnreadable
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Idempotency, PutBackup
from backup_sharing.store.rows import answer_of, answer_text
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import prepare
from tests.store.commands import NOW, backup, cancel_all, cause, key
from tests.store.sqlite.scripted import make


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    prepare(tmp_path / "sharings.db", busy_timeout=1)
    with closing(connect(tmp_path / "sharings.db", busy_timeout=1)) as connection:
        make(connection, PutBackup(backup(), cause()))
        yield connection


def use(connection: sqlite3.Connection, idempotency: Idempotency, at: int = NOW) -> object:
    """Use a key for a change that succeeds."""
    return make(connection, cancel_all(because=cause(at), idempotency=idempotency))


def keys(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT key FROM idempotency_keys")}


def test_writing_a_key_drops_a_few_expired_keys_and_no_others(connection: sqlite3.Connection) -> None:
    for number in range(20):
        use(connection, key(f"expired {number}", expires_at=NOW + 1))
        use(connection, key(f"valid {number}", expires_at=NOW + 2))
    counts = []
    for number in range(3):
        use(connection, key(f"new {number}", expires_at=NOW + 9), NOW + 1)
        counts.append(len(keys(connection)))
    assert counts == [40 - 16 + 1, 40 - 20 + 2, 40 - 20 + 3]
    assert keys(connection) == {f"valid {n}" for n in range(20)} | {f"new {n}" for n in range(3)}


def test_an_expired_key_can_be_used_again_before_it_is_dropped(connection: sqlite3.Connection) -> None:
    for number in range(40):
        use(connection, key(f"{number}", expires_at=NOW + number + 1))
    use(connection, key("39", b"another", expires_at=NOW + 99), NOW + 40)
    use(connection, key("39", b"another", expires_at=NOW + 99), NOW + 40)


@pytest.mark.parametrize("text", ["", "[", "5", "[5]", '[{"id": "1"}]', '[{"unknown": 1}]'])
def test_a_stored_answer_that_cannot_be_read_says_so(connection: sqlite3.Connection, text: str) -> None:
    use(connection, key())
    connection.execute("UPDATE idempotency_keys SET answer = ?", (text,))
    with pytest.raises(StoredDataUnreadable):
        use(connection, key())


def test_an_answer_is_read_as_it_was_written() -> None:
    answer = [Sharing("1", "backup", "ä", "b", 5), Sharing("2", "backup", "a", "c", -5, 6, 7)]
    assert answer_of(answer_text(answer)) == answer
