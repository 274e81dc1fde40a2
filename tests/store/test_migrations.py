"""Migrations of a database's tables, on every engine."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlite_utils import Database

from backup_sharing.errors import Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store import opening, readiness
from backup_sharing.store.interface import Store
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.opening import Tuning, checked, migrate, open_store, plan, schema_status
from backup_sharing.store.postgres.connection import connection_string
from backup_sharing.store.sqlite import file as sqlite_file
from backup_sharing.store.unusable import UnusableDatabase
from tests.store.commands import backup, cause, every_call
from tests.store.faults import until

pytestmark = pytest.mark.asyncio

OLD = MIGRATIONS[:1]


def add_notes(database: Database) -> None:
    database.execute("CREATE TABLE notes (id TEXT PRIMARY KEY)")
    database.execute("INSERT INTO notes VALUES ('kept')")


def fail_half_way(database: Database) -> None:
    database.execute("CREATE TABLE half (id TEXT)")
    database.execute("INSERT INTO nowhere VALUES (1)")


_NOTES = ("CREATE TABLE notes (id TEXT PRIMARY KEY)", "INSERT INTO notes VALUES ('kept')")
_HALF = ("CREATE TABLE half (id TEXT)", "INSERT INTO nowhere VALUES (1)")
NEW = (*OLD, Migration("9001_notes", "Notes", add_notes, _NOTES))
BROKEN = (*NEW, Migration("9002_half", "Fails", fail_half_way, _HALF))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of an empty database."""
    if request.param == "postgres":
        return str(request.getfixturevalue("database_url"))
    return f"sqlite://{tmp_path / 'sharings.db'}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LOOK_EVERY", 0.01)
    # A slow disk delays several migrations that run at the same time.
    monkeypatch.setattr(opening, "_PATIENCE", 60.0)


async def test_an_empty_database_gets_its_tables_when_it_is_opened(database: str) -> None:
    assert schema_status(database).is_empty
    store = await open_store(database)
    await store.put_backup(PutBackup(backup(), cause()))
    await store.close()
    assert schema_status(database).pending == []


async def must_refuse_every_call(store: Store) -> None:
    for call in every_call(store):
        with pytest.raises(Unavailable, match="has to be migrated"):
            await call


async def test_a_store_refuses_calls_while_its_tables_are_old(database: str) -> None:
    await (await open_store(database, known=OLD)).close()
    store = await open_store(database, known=NEW)
    await must_refuse_every_call(store)
    assert migrate(database, NEW).pending == ["9001_notes"]
    await until(store.ping)
    await store.put_backup(PutBackup(backup(), cause()))
    await store.close()


async def test_a_database_that_is_newer_than_the_program_is_refused(database: str) -> None:
    migrate(database, NEW)
    for use in (lambda: migrate(database, OLD), lambda: asyncio.run(open_store(database, known=OLD))):
        with pytest.raises(UnusableDatabase, match=r"newer version of this program.*9001_notes"):
            await asyncio.to_thread(use)
    assert schema_status(database, OLD).unknown == ["9001_notes"]


async def test_a_server_that_is_older_than_what_it_finds_later_goes_on(database: str) -> None:
    # During a rolling upgrade, old replicas run beside a new one.
    store = await open_store(database, known=OLD)
    migrate(database, NEW)
    await store.put_backup(PutBackup(backup(), cause()))
    await store.close()


async def test_of_several_migrations_at_once_each_finds_all_done(database: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda _: migrate(database, NEW), range(8)))
    names = [migration.name for migration in NEW]
    assert sorted(list(outcome.pending) for outcome in outcomes) == sorted([[]] * 7 + [names])
    assert schema_status(database, NEW).applied == names


async def test_a_name_that_another_is_just_taking_is_tried_again(database_url: str) -> None:
    # PostgreSQL fails CREATE TABLE like this if another session has just created the row type of the table.
    with psycopg.connect(connection_string(database_url), autocommit=True) as other:
        other.execute("CREATE DOMAIN schema_migrations AS TEXT")
        migrating = asyncio.create_task(asyncio.to_thread(migrate, database_url, NEW))
        await asyncio.sleep(0.3)
        assert not migrating.done()
        other.execute("DROP DOMAIN schema_migrations")
    await migrating
    assert schema_status(database_url, NEW).pending == []


async def test_several_stores_opened_at_once_on_nothing_all_work(database: str) -> None:
    stores = await asyncio.gather(*(open_store(database, Tuning(patience=60.0)) for _ in range(5)))
    for store in stores:
        await store.put_backup(PutBackup(backup(), cause()))
        await store.close()


async def test_a_migration_that_fails_leaves_nothing_behind(database: str) -> None:
    migrate(database, OLD)
    with pytest.raises(UnusableDatabase, match="nowhere"):
        migrate(database, BROKEN)
    assert schema_status(database, BROKEN).pending == ["9001_notes", "9002_half"]
    assert migrate(database, NEW).pending == ["9001_notes"]


async def test_a_plan_shows_what_would_be_executed_and_changes_nothing(database: str) -> None:
    migrate(database, OLD)
    steps = plan(database, NEW)
    assert {name: [re.sub(r"\s+", " ", sql) for sql in steps[name]] for name in steps} == {"9001_notes": list(_NOTES)}
    assert schema_status(database, NEW).pending == ["9001_notes"]


async def test_a_plan_for_nothing_makes_no_file(tmp_path: Path) -> None:
    assert list(plan(str(tmp_path / "new.db"))) == [migration.name for migration in MIGRATIONS]
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 -- nothing else runs on a test's loop


async def test_every_migration_has_its_own_number_in_order() -> None:
    numbers = [migration.name.partition("_")[0] for migration in MIGRATIONS]
    assert numbers == [f"{number:04}" for number in range(1, len(MIGRATIONS) + 1)]


async def test_both_engines_have_the_same_tables_and_columns(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    migrate(str(tmp_path / "sharings.db"))
    sqlite = Database(tmp_path / "sharings.db", execute_plugins=False)
    wanted = {table: {column.name for column in sqlite.table(table).columns} for table in sqlite.table_names()}
    found = await asyncio.to_thread(columns, database_url)
    assert found.pop("batches")
    assert found.pop("schema_migrations")
    # The position of an event is the column `seq` in SQLite.
    assert found.pop("event_order")
    found["sharing_events"].remove("position")
    assert wanted.pop(sqlite_file.MIGRATIONS_TABLE)
    assert found == {name: of for name, of in wanted.items() if not name.startswith("sqlite_")}


def columns(url: str) -> dict[str, set[str]]:
    import psycopg

    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    tables: dict[str, set[str]] = {}
    with psycopg.connect(url) as connection:
        for table, column in connection.execute(query):
            tables.setdefault(table, set()).add(column)
    return tables


@pytest.mark.parametrize("database", ["", "sqlite:", "sqlite://", "."])
async def test_a_name_that_is_no_database_is_refused(database: str) -> None:
    with pytest.raises(ValueError, match="expected a file, sqlite:///FILE or postgresql://"):
        checked(database)


@pytest.mark.parametrize("database", ["postgresql://nobody@127.0.0.1:1/x", "postgresql://127.0.0.1:port/x"])
async def test_an_unreachable_database_is_named_without_its_secrets(database: str) -> None:
    with pytest.raises(UnusableDatabase, match=r"^postgresql://127\.0\.0\.1:(1|port)/x: .") as raised:
        schema_status(database.replace("//", "//user:geheim@").replace("user:geheim@nobody@", "user:geheim@"))
    assert "geheim" not in str(raised.value)
