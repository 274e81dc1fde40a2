"""Guarantees of test servers: acknowledged commits survive, and a restart keeps port and data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg
import pytest

from tests.support.postgres.server import PostgresServer
from tests.support.postgres.which import own_server

pytestmark = pytest.mark.resilience


@pytest.fixture
def careful_postgres() -> Iterator[PostgresServer]:
    """Server with its data on disk."""
    with closing(own_server(fsync=True)) as server:
        yield server


def numbers(server: PostgresServer) -> list[int]:
    return [number for (number,) in server.execute("SELECT number FROM numbers ORDER BY number")]


class Writer:
    """Thread that commits the numbers from 1 on, each in a new session, and records acknowledged numbers."""

    def __init__(self, server: PostgresServer) -> None:
        self.acknowledged: list[int] = []
        self._url = server.url
        self._has_many = threading.Event()
        self._thread = threading.Thread(target=self._write)
        server.execute("CREATE TABLE numbers (number int)")

    def __enter__(self) -> Writer:
        self._thread.start()
        assert self._has_many.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(self._url, autocommit=True) as connection:
            for number in range(1, 1_000_000):
                connection.execute("INSERT INTO numbers VALUES (%s)", [number])
                self.acknowledged.append(number)
                if number == 100:
                    self._has_many.set()


@pytest.mark.parametrize("release", [16, 18])
def test_a_server_of_either_release_answers_sql(release: int) -> None:
    with closing(own_server(release=release)) as server:
        assert server.execute("SELECT current_setting('server_version_num')::int / %s", 10_000) == [(release,)]


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_a_stopped_server_starts_where_it_was_with_its_data(own_postgres: PostgresServer, mode: str) -> None:
    url = own_postgres.url
    own_postgres.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    own_postgres.stop(mode)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        own_postgres.execute("SELECT 1")
    own_postgres.start()
    assert own_postgres.url == url
    assert numbers(own_postgres) == [1]


def test_a_server_that_is_killed_keeps_what_it_acknowledged(careful_postgres: PostgresServer) -> None:
    with Writer(careful_postgres) as writer:
        careful_postgres.kill()
    careful_postgres.start()
    assert careful_postgres.execute("SHOW fsync") == [("on",)]
    # The commit in progress may be stored or not.
    assert numbers(careful_postgres)[: len(writer.acknowledged)] == writer.acknowledged
    assert len(numbers(careful_postgres)) <= len(writer.acknowledged) + 1


def test_a_server_can_be_killed_again_and_again(own_postgres: PostgresServer) -> None:
    own_postgres.execute("CREATE TABLE numbers (number int)")
    for number in range(5):
        own_postgres.execute("INSERT INTO numbers VALUES (%s)", number)
        own_postgres.kill()
        own_postgres.start()
    assert numbers(own_postgres) == list(range(5))


def test_an_uncommitted_transaction_is_gone_after_a_crash(own_postgres: PostgresServer) -> None:
    own_postgres.execute("CREATE TABLE numbers (number int)")
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute("INSERT INTO numbers VALUES (1)")
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    own_postgres.start()
    assert numbers(own_postgres) == []


def test_cut_connections_ends_others_sessions_and_counts_them(own_postgres: PostgresServer) -> None:
    with psycopg.connect(own_postgres.url) as one, psycopg.connect(own_postgres.url) as two:
        one.execute("SELECT 1")  # opens a transaction
        assert own_postgres.cut_connections() == 2
        for connection in (one, two):
            with pytest.raises(psycopg.errors.AdminShutdown):
                connection.execute("SELECT 1")
    assert own_postgres.cut_connections() == 0


def test_a_standby_follows_and_cannot_be_written_to(own_postgres: PostgresServer) -> None:
    standby = own_postgres.make_standby()
    own_postgres.configure("synchronous_commit", "remote_apply")
    own_postgres.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    assert numbers(standby) == [1]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        standby.execute("INSERT INTO numbers VALUES (2)")


def test_a_promoted_standby_has_all_and_can_be_written_to(own_postgres: PostgresServer) -> None:
    standby = own_postgres.make_standby()
    with Writer(own_postgres) as writer:
        own_postgres.kill()
    standby.promote()
    assert numbers(standby)[: len(writer.acknowledged)] == writer.acknowledged
    standby.execute("INSERT INTO numbers VALUES (0)")
    assert numbers(standby)[0] == 0


def test_of_two_standbys_each_has_what_was_acknowledged(own_postgres: PostgresServer) -> None:
    standbys = [own_postgres.make_standby(), own_postgres.make_standby()]
    own_postgres.execute("CREATE TABLE numbers AS SELECT 1 AS number")
    own_postgres.kill()
    for standby in standbys:
        standby.promote()
        standby.execute("INSERT INTO numbers VALUES (2)")
        assert numbers(standby) == [1, 2]


def test_commits_wait_while_the_standby_is_away(own_postgres: PostgresServer) -> None:
    standby = own_postgres.make_standby()
    own_postgres.execute("CREATE TABLE numbers (number int)")
    standby.stop()
    write = threading.Thread(target=own_postgres.execute, args=("INSERT INTO numbers VALUES (1)",))
    write.start()
    while not own_postgres.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
        assert write.is_alive()
    standby.start()
    write.join(60)
    assert not write.is_alive()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.postgres.server.free_port", lambda: own_postgres.port)
    with pytest.raises(AssertionError, match="Address already in use"):
        PostgresServer()
