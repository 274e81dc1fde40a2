"""The servers that other tests rely on: they keep what they acknowledged, and leave nothing behind."""

from __future__ import annotations

from tests.postgres.server import PostgresServer


def test_a_server_answers_sql(own_postgres: PostgresServer) -> None:
    assert own_postgres.execute("SELECT 1, version() LIKE 'PostgreSQL 18.%'") == [(1, True)]
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.execute("SELECT 1") == [(1,)]
    s = own_postgres.make_standby()
    own_postgres.execute("CREATE TABLE a AS SELECT 1 AS b")
    own_postgres.kill()
    s.promote()
    assert s.execute("SELECT b FROM a") == [(1,)]


def test_db(database_url: str) -> None:
    pass


def test_db2(database_url: str) -> None:
    pass
