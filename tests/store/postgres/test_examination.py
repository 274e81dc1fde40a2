"""The state of a PostgreSQL database, as ``backup-sharing doctor`` shows it."""

from __future__ import annotations

import psycopg
import pytest

from backup_sharing.admin.doctor.database import database
from backup_sharing.store.examination.examining import examine
from backup_sharing.store.examination.postgres import _wrong_counters
from backup_sharing.store.opening import migrate
from backup_sharing.store.unusable import UnreachableDatabase
from programkit.doctor.findings import State
from tests.support.ports import free_port

SECONDS = 30.0


def test_an_empty_database_is_a_warning(database_url: str) -> None:
    (finding,) = database(database_url, SECONDS)
    assert finding.state is State.WARNING


def test_a_good_database_has_nothing_to_do(database_url: str) -> None:
    migrate(database_url)
    findings = list(database(database_url, SECONDS))
    assert {finding.state for finding in findings} == {State.OK}
    assert any("clock" in finding.text for finding in findings)


def test_a_counter_that_disagrees_with_the_sharings_is_found(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute("INSERT INTO backups (id, project_id, status, active_sharings) VALUES ('b', 'p', 'error', 3)")
    assert examine(database_url, SECONDS).wrong_counters == 1


def test_counters_that_take_too_long_are_not_compared(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(database_url) as other, psycopg.connect(database_url, autocommit=True) as session:
        other.execute("LOCK TABLE sharings")
        assert _wrong_counters(session, 0.05) is None
        other.rollback()
        assert _wrong_counters(session, SECONDS) == 0


def test_an_invalid_index_is_damage(database_url: str) -> None:
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute("CREATE INDEX half_made ON backups (name)")
        session.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'half_made'::regclass")
    assert examine(database_url, SECONDS).damage == "invalid indexes: half_made"


def test_a_server_that_is_gone_is_unreachable() -> None:
    with pytest.raises(UnreachableDatabase, match="cannot be read"):
        examine(f"postgresql://127.0.0.1:{free_port()}/s", SECONDS)
