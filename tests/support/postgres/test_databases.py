"""Test databases: every test has its own, on a started or an external server."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from tests.support.postgres import which
from tests.support.postgres.databases import drop_database, new_database
from tests.support.postgres.server import PostgresServer
from tests.support.postgres.which import ELSEWHERE, own_server, started_server
from tests.support.programs import ROOT


def tables(url: str) -> list[tuple[str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()


@pytest.mark.parametrize("run", [1, 2])
def test_every_test_has_an_empty_database(database_url: str, run: int) -> None:
    assert tables(database_url) == []
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE left_behind ()")
    assert tables(database_url) == [("left_behind",)]


def test_a_database_compares_bytes_in_utf_8_whatever_its_server(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT 'B' < 'a', octet_length('ü')").fetchone() == (True, 2)


def test_databases_of_a_server_do_not_see_each_other(postgres: str, database_url: str) -> None:
    other = new_database(postgres)
    with psycopg.connect(other) as connection:
        connection.execute("CREATE TABLE only_there ()")
    assert tables(database_url) == []
    drop_database(other)


def test_a_database_is_dropped_under_the_sessions_that_are_in_it(postgres: str) -> None:
    url = new_database(postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        drop_database(url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_what_a_url_says_beside_the_name_of_the_database_stays(postgres: str) -> None:
    url = new_database(f"{postgres}?application_name=someone")
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("someone",)
    drop_database(url)


def test_a_server_named_by_the_environment_is_used_none_started(own_postgres: PostgresServer) -> None:
    own_postgres.configure("log_statement", "ddl")
    tests = ("test_every_test_has_an_empty_database", "test_a_server_named_by_the_environment_is_used")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", __file__, "-k", " or ".join(tests)],
        cwd=ROOT,
        env={**os.environ, ELSEWHERE: own_postgres.url},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "2 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert f"the server of {ELSEWHERE} is not ours to stop" in done.stdout
    assert own_postgres.log.count("CREATE TABLE left_behind") == 2


@pytest.mark.parametrize("get_server", [started_server, own_server])
def test_where_there_is_no_server_tests_are_skipped_and_say_why(
    get_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ELSEWHERE, raising=False)
    monkeypatch.setattr(which, "packaged", lambda release: None)
    assert callable(get_server)
    with pytest.raises(pytest.skip.Exception, match=rf"not installed, and {ELSEWHERE} is not set"):
        get_server()
