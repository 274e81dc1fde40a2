"""``backup-sharing migrate``: output and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlite_utils import Database

from backup_sharing.admin.cli import main
from backup_sharing.store.migrations import MIGRATIONS
from backup_sharing.store.sqlite.file import MIGRATION_SET


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sharings.db"


def run(command: str, path: Path | str) -> Result:
    return CliRunner().invoke(main, ["migrate", command, "--database", str(path)])


def test_status_of_nothing_lists_what_is_missing_with_exit_3(path: Path) -> None:
    result = run("status", path)
    assert result.exit_code == 3
    assert [line.split()[:2] for line in result.output.splitlines()] == [["missing", each.name] for each in MIGRATIONS]
    assert not path.exists()


def test_plan_shows_statements_and_apply_executes_them(path: Path) -> None:
    assert "CREATE TABLE backups (" in run("plan", path).output
    assert run("apply", path).output.splitlines() == [f"applied {migration.name}" for migration in MIGRATIONS]
    assert run("status", path).exit_code == 0
    for command in ("plan", "apply"):
        assert run(command, path).output == "Nothing to do: the database is up to date.\n"


def test_a_newer_database_is_named_and_left_alone(path: Path) -> None:
    run("apply", path)
    newer = {"migration_set": MIGRATION_SET, "name": "9999_from_the_future", "applied_at": ""}
    Database(path, execute_plugins=False).table("_sqlite_migrations").insert(newer)
    status = run("status", path)
    assert (status.exit_code, "unknown  9999_from_the_future" in status.output) == (4, True)
    apply = run("apply", path)
    assert (apply.exit_code, "newer version of this program" in apply.output) == (1, True)


def test_a_file_that_is_no_database_is_an_error_in_one_line(path: Path) -> None:
    path.write_text("something else, and more than a few bytes of it" * 100, encoding="ascii")
    for command in ("status", "plan", "apply"):
        result = run(command, path)
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert "is not a SQLite database" in result.output


def test_without_a_database_it_says_how_to_name_one() -> None:
    result = CliRunner().invoke(main, ["migrate", "status"])
    assert (result.exit_code, "--database" in result.output) == (2, True)


def test_a_postgresql_database_is_migrated_by_its_url(database_url: str) -> None:
    assert run("status", database_url).exit_code == 3
    assert "FOR UPDATE" not in run("plan", database_url).output
    assert run("apply", database_url).exit_code == 0
    assert run("status", database_url).exit_code == 0
